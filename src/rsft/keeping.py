"""Keeping what was scored: from the scorers into the run folder, some at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType

from rsft.errors import RunError, UserError
from rsft.scorers import Scorer
from rsft.scoring import Scored, Scores
from rsft.store import RunFolder, ScoreRow
from rsft.types import CandidateKey, Score

# A commit of so many takes a fraction of a second, and its rows little memory.
_MOST = 8192


class Keeping:
    """Commits candidates with their scores; or, where these are `known`, the scores that are not, of candidates that
    are kept already.

    `at_once` together, and no sooner than some seconds after the last time, so that a quick engine makes no more
    commits than a slow one. That is what a crash can cost. The rest is committed at its end, even where that is the
    error of a scorer, or an interruption by hand; not where the folder can't be written.
    """

    def __init__(
        self,
        folder: RunFolder,
        scorers: Mapping[str, Scorer],
        known: Mapping[CandidateKey, Scores] | None = None,
        *,
        at_once: int = 128,
        seconds: float = 3.0,
    ) -> None:
        self.kept: dict[CandidateKey, Scored] = {}
        self._folder = folder
        self._fingerprints = {name: scorer.fingerprint for name, scorer in scorers.items()}
        self._known = known
        self._at_once, self._seconds = at_once, seconds
        self._waiting: list[Scored] = []
        self._committed_at = time.monotonic()

    def __enter__(self) -> Keeping:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, UserError | KeyboardInterrupt) and not isinstance(error, RunError)):
            self.flush()

    def keep(self, scored: Iterable[Scored]) -> None:
        self._waiting += scored
        waiting, seconds = len(self._waiting), time.monotonic() - self._committed_at
        if waiting >= _MOST or (waiting >= self._at_once and seconds >= self._seconds):
            self.flush()

    def flush(self) -> None:
        """Commit what waits, all of it at once."""
        # One scorer after the other: so its words lie together, and take less room.
        scores = [
            ScoreRow(candidate.key, name, fingerprint, said[name])
            for name, fingerprint in self._fingerprints.items()
            for candidate, said in self._waiting
            if not self._known or not self._is_known(candidate.key, name, said[name])
        ]
        self._folder.commit(
            candidates=[candidate for candidate, _ in self._waiting] if self._known is None else [],
            scores=scores,
            known_scores="skip",  # a candidate that was damaged is drawn again, and its scores may be whole
        )
        self.kept |= {one[0].key: one for one in self._waiting}
        self._waiting = []
        self._committed_at = time.monotonic()

    def _is_known(self, key: CandidateKey, name: str, said: Score) -> bool:
        """Whether a word is kept already; one that failed can be made good."""
        before = (self._known or {}).get(key, {}).get(name)
        return before is not None and (before.value is not None or said.value is None)
