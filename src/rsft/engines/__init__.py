"""What samples. An engine's one method is `sample(policy, requests, params)`, which streams candidates."""

from rsft.engines.base import Request
from rsft.engines.own import OwnEngine, Written

__all__ = ["OwnEngine", "Request", "Written"]
