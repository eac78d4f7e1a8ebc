"""An engine of fixed latency: so many replies at a time, each batch after so many seconds, with nothing computed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rsft.engines import OwnEngine, Request, Written
from rsft.types import Policy

_TEXT = "This is reply {} to what you said, about as long as the replies of such models are, give or take a few words."
_TOKENS = tuple(range(1000, 1024))


class Patient(OwnEngine):
    """Answers after `seconds`."""

    seconds: float = 0.0

    def replies(self, policy: Policy, requests: Sequence[Request]) -> Sequence[Written]:
        time.sleep(self.seconds)
        return [Written(_TEXT.format(request.seed % 1000), _TOKENS) for request in requests]
