"""What may end a candidate while it is drawn: a rule that it can't pass any more, or, if asked for, poor prospects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from rsft.engines.base import Request, Watcher
from rsft.scorers import Scorer
from rsft.selection import Selection
from rsft.speculation import Speculation
from rsft.types import Ended, Reply


@dataclass(frozen=True, slots=True)
class Watching:
    """Watches candidates for the scorers that can tell a hopeless beginning, each under the rule that rejects a 0.

    That is lossless: it ends only candidates that this very rule would reject as whole replies. `speculation` is not.
    """

    checks: Mapping[str, Scorer]
    """By the names of the rules."""
    speculation: Speculation | None = None

    @classmethod
    def of(
        cls, scorers: Mapping[str, Scorer], selection: Selection, speculation: Speculation | None = None
    ) -> Watching | None:
        """What can be watched for, or None if that is nothing."""
        able = {name: scorer for name, scorer in scorers.items() if type(scorer).hopeless is not Scorer.hopeless}
        rules = {name: selection.rejecting(name, 0.0) for name in able}
        checks = {rule: able[name] for name, rule in rules.items() if rule is not None}
        return cls(checks, speculation) if checks or speculation else None

    @property
    def fingerprint(self) -> str:
        """What is ended depends on the rules, their scorers and the speculation's bars, and on nothing else."""
        said = [
            sorted((rule, scorer.fingerprint) for rule, scorer in self.checks.items()),
            self.speculation and self.speculation.identity,
        ]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]

    def __call__(self, request: Request) -> Watcher | None:
        speculate = self.speculation.watcher(request) if self.speculation else None
        if not self.checks:
            return speculate

        def watcher(text: str, tokens: int) -> Ended | None:
            beginning = Reply(request.prompt, text)
            for rule, scorer in self.checks.items():
                if why := _hopeless(scorer, beginning):
                    return Ended(rule, why)
            return speculate(text, tokens) if speculate else None

        return watcher


def _hopeless(scorer: Scorer, beginning: Reply) -> str | None:
    try:
        return scorer.hopeless(beginning)
    except Exception:  # it can't tell; the whole reply will be scored
        return None
