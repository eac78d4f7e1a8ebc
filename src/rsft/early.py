"""Exact early rejection: a candidate ends at the token after which no continuation of it could be accepted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from rsft.engines.base import Request, Watcher
from rsft.scorers.base import Scorer
from rsft.selection import Selection
from rsft.types import Ended, Reply


@dataclass(frozen=True, slots=True)
class EarlyRejection:
    """Watches candidates for the scorers that can tell a hopeless beginning, each under the rule that rejects a 0.

    Lossless: it ends only candidates that this very rule would reject as whole replies.
    """

    checks: Mapping[str, Scorer]
    """By the names of the rules."""

    @classmethod
    def of(cls, scorers: Mapping[str, Scorer], selection: Selection) -> EarlyRejection | None:
        """What can be rejected early, or None if that is nothing."""
        able = {name: scorer for name, scorer in scorers.items() if type(scorer).hopeless is not Scorer.hopeless}
        rules = {name: selection.rejecting(name, 0.0) for name in able}
        checks = {rule: able[name] for name, rule in rules.items() if rule is not None}
        return cls(checks) if checks else None

    @property
    def fingerprint(self) -> str:
        """What it ends depends on the rules and the scorers, and on nothing else."""
        said = sorted((rule, scorer.fingerprint) for rule, scorer in self.checks.items())
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]

    def __call__(self, request: Request) -> Watcher:
        def watcher(text: str, _tokens: int) -> Ended | None:
            beginning = Reply(request.prompt, text)
            for rule, scorer in self.checks.items():
                if why := _hopeless(scorer, beginning):
                    return Ended(rule, why)
            return None

        return watcher


def _hopeless(scorer: Scorer, beginning: Reply) -> str | None:
    try:
        return scorer.hopeless(beginning)
    except Exception:  # it can't tell; the whole reply will be scored
        return None
