"""Keeping what was scored: from the scorers into the run folder, some at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType

from rsft.errors import RunError, UserError
from rsft.scorers import Scorer
from rsft.scoring import Scored
from rsft.store import RunFolder, ScoreRow
from rsft.types import CandidateKey


class Keeping:
    """Commits scores, and with `drawn` the candidates that they are of, `at_once` together: what a crash can cost.

    The rest is committed at its end, even where that is the error of a scorer; not where the folder can't be written.
    """

    def __init__(self, folder: RunFolder, scorers: Mapping[str, Scorer], *, drawn: bool, at_once: int = 128) -> None:
        self.kept: dict[CandidateKey, Scored] = {}
        self._folder = folder
        self._fingerprints = {name: scorer.fingerprint for name, scorer in scorers.items()}
        self._drawn = drawn
        self._at_once = at_once
        self._waiting: list[Scored] = []

    def __enter__(self) -> Keeping:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, UserError) and not isinstance(error, RunError)):
            self.flush()

    def keep(self, scored: Iterable[Scored]) -> None:
        self._waiting += scored
        if len(self._waiting) >= self._at_once:
            self.flush()

    def flush(self) -> None:
        """Commit what waits, all of it at once."""
        scores = [
            ScoreRow(candidate.key, name, self._fingerprints[name], score)
            for candidate, said in self._waiting
            for name, score in said.items()
        ]
        self._folder.commit(
            candidates=[candidate for candidate, _ in self._waiting] if self._drawn else [],
            scores=self._folder.not_there(scores),
        )
        self.kept |= {one[0].key: one for one in self._waiting}
        self._waiting = []
