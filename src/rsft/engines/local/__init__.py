"""The engine in this process: a prompt is read once, however many candidates it has, and every place is kept filled."""

from rsft.engines.local.engine import LocalEngine

__all__ = ["LocalEngine"]
