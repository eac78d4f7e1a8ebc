"""Scorers at work beside the engine: quick ones at once, each of the others in a thread of its own, or in as many as it
has hands; what combines their scores when all of these have spoken."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from types import TracebackType

from rsft.errors import ScoringError, UserError
from rsft.scorers import BATCH, Combined, Scorer, run_in_batches
from rsft.types import Candidate, CandidateKey, Prompt, Reply, Score

# Replies that a scorer must have been asked about before the share that failed says something.
_LEAST_ASKED = 50
# Of so many candidates it is known whether a scorer failed: if it breaks down late in a long run, that is heard of.
_COUNTED = 10_000
# Words that are remembered.
_REMEMBERED = 200_000

Scores = Mapping[str, Score]
Scored = tuple[Candidate, Scores]
"""A candidate with the word of every scorer on it."""


class Record:
    """What scorers said in a run so far, so that slow ones are not asked about an equal reply twice; and how often they
    failed lately, so that one that fails too often ends the run. Over a batch they may take `max_seconds`."""

    def __init__(self, max_failed: float = 1.0, max_seconds: float = math.inf) -> None:
        self._max_failed = max_failed
        self.max_seconds = max_seconds
        self._words: OrderedDict[tuple[str, str, str, tuple[int, ...]], Score] = OrderedDict()
        self._lately: defaultdict[str, _Lately] = defaultdict(_Lately)

    def word(self, name: str, candidate: Candidate) -> Score | None:
        """What the scorer said of such a reply before, unless it failed."""
        return self._words.get(_content(name, candidate))

    def keep(self, name: str, candidate: Candidate, score: Score) -> None:
        """Remember a word."""
        if score.value is not None:
            self._words[_content(name, candidate)] = score
            if len(self._words) > _REMEMBERED:
                self._words.popitem(last=False)

    def count(self, name: str, candidates: Iterable[Candidate], said: Iterable[Score]) -> None:
        """Count a scorer's words, each candidate once. Raises ScoringError if it failed on more of those that it was
        asked about lately than it may."""
        lately, reason = self._lately[name], None
        for candidate, score in zip(candidates, said, strict=True):
            lately.count(candidate.key, score.value is None)
            reason = score.failure or reason
        if reason and len(lately) >= _LEAST_ASKED and lately.failed > self._max_failed * len(lately):
            raise ScoringError(
                f"The scorer '{name}' failed on {lately.failed} of {len(lately)} replies, more than scoring.max_failed "
                f"({self._max_failed:g}) allows. The last reason: {reason}. Mend it and go on with rsft resume, which "
                "asks again where a score failed; or, in a new run, allow more (--set scoring.max_failed=0.5)."
            )

    def count_known(self, known: Mapping[CandidateKey, Scores]) -> None:
        """Count words that stand, of an earlier time: a resumed run has the share of failures that one run has."""
        for key, said in known.items():
            for name, score in said.items():
                if score.value is not None:
                    self._lately[name].count(key, False)


class _Lately:
    """The last `_COUNTED` candidates that a scorer was asked about, and on how many of them it failed."""

    def __init__(self) -> None:
        self._has_failed: OrderedDict[CandidateKey, bool] = OrderedDict()
        self.failed = 0

    def __len__(self) -> int:
        return len(self._has_failed)

    def count(self, key: CandidateKey, failed: bool) -> None:
        self.failed += failed - self._has_failed.pop(key, False)
        self._has_failed[key] = failed
        if len(self._has_failed) > _COUNTED:
            self.failed -= self._has_failed.popitem(last=False)[1]


@dataclass(slots=True, eq=False)
class _Batch:
    """What a scorer is at work on, and since when."""

    candidates: list[Candidate]
    began: float


def _content(name: str, candidate: Candidate) -> tuple[str, str, str, tuple[int, ...]]:
    return name, candidate.key.prompt_id, candidate.text, candidate.token_ids


class Scoring:
    """Takes candidates as they come, and gives each back when all scorers have spoken. A context manager."""

    def __init__(
        self, scorers: Mapping[str, Scorer], prompts: Mapping[str, Prompt], record: Record | None = None
    ) -> None:
        self._combined = {name: scorer for name, scorer in scorers.items() if isinstance(scorer, Combined)}
        self._scorers = {name: scorer for name, scorer in scorers.items() if name not in self._combined}
        self._names = (*self._scorers, *self._combined)
        self._prompts = prompts
        self._record = record or Record()
        self._slow = {
            name: SimpleQueue[Candidate | None]() for name, scorer in self._scorers.items() if not scorer.quick
        }
        self._said: SimpleQueue[tuple[str, Sequence[Candidate], list[Score] | BaseException]] = SimpleQueue()
        self._open: dict[CandidateKey, tuple[Candidate, dict[str, Score]]] = {}
        self._done: list[Scored] = []
        self._error: BaseException | None = None
        self._refused = False
        self._ended = threading.Event()
        self._busy: dict[int, tuple[str, _Batch]] = {}
        self._turns = threading.Lock()

    def __enter__(self) -> Scoring:
        for name in self._slow:
            for _ in range(self._scorers[name].hands):
                self._employ(name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        for name, inbox in self._slow.items():
            for _ in range(self._scorers[name].hands):
                inbox.put(None)

    def ask(self, candidates: Sequence[Candidate], known: Mapping[CandidateKey, Scores] | None = None) -> None:
        """Have candidates scored by all scorers but those whose word is `known`: by quick ones now, together."""
        if self._refused:
            return  # it is heard of as soon as nothing else is left to say
        asked = [(candidate, dict(known.get(candidate.key, ())) if known else {}) for candidate in candidates]
        for name in self._scorers:
            for candidate, said in asked:
                if name in said and name in self._slow:
                    self._record.keep(name, candidate, said[name])
                elif name not in said and not candidate.is_reply:
                    said[name] = _no_reply(candidate)
            ask = self._ask_slow if name in self._slow else self._ask_quick
            ask(name, [one for one in asked if name not in one[1]])
        for candidate, said in asked:
            if not self._is_whole(candidate, said):
                self._open[candidate.key] = (candidate, said)

    @property
    def owes(self) -> bool:
        """Whether a candidate waits for a word on it, or an error to be heard of."""
        return bool(self._open) or self._error is not None

    def answered(self) -> list[Scored]:
        """The candidates that all scorers have spoken of since this was last asked.

        Raises what a scorer raised, or the ScoringError of one that failed too often, once nothing else is left to say:
        what was scored before is not lost.
        """
        self._give_up_what_hangs()
        while not self._said.empty():
            self._hear(*self._said.get())
        done, self._done = self._done, []
        if self._error is not None and not done:
            raise self._error
        return done

    def wait(self, seconds: float | None = None) -> list[Scored]:
        """The same, but waits until there is one, for so long at most."""
        done = self.answered()
        while not done and self._open:
            patience = min(seconds or math.inf, self._record.max_seconds)
            try:
                self._hear(*self._said.get(timeout=None if patience == math.inf else patience))
            except Empty:
                if seconds is not None:
                    break
            done = self.answered()
        return done

    def _hear(self, name: str, batch: Sequence[Candidate], said: list[Score] | BaseException) -> None:
        if isinstance(said, BaseException):
            self._error = said
            return
        for candidate, score in zip(batch, said, strict=True):
            self._open[candidate.key][1][name] = score
            self._record.keep(name, candidate, score)
            if self._is_whole(*self._open[candidate.key]):
                del self._open[candidate.key]
        self._count(name, batch, said)

    def _ask_slow(self, name: str, wanted: Sequence[tuple[Candidate, dict[str, Score]]]) -> None:
        """Have the word that a slow scorer gave of such a reply before; or else what it says when it comes to it."""
        for candidate, said in wanted:
            if (before := self._record.word(name, candidate)) is not None:
                said[name] = before
                self._count(name, [candidate], [before])
            else:
                self._slow[name].put(candidate)

    def _ask_quick(self, name: str, wanted: Sequence[tuple[Candidate, dict[str, Score]]]) -> bool:
        """Have a quick scorer's words; False if it raised, which leaves those that it gave before."""
        candidates = [candidate for candidate, _ in wanted]
        try:
            scores = _score(self._scorers[name], candidates, self._prompts)
        except UserError as error:
            if len(wanted) > 1:
                return all(self._ask_quick(name, [one]) for one in wanted)
            self._error, self._refused = error, True
            return False
        for (_, said), score in zip(wanted, scores, strict=True):
            said[name] = score
        # Each failure may be the one that is too many.
        size = 1 if any(score.value is None for score in scores) else max(1, len(scores))
        for start in range(0, len(scores), size):
            self._count(name, candidates[start : start + size], scores[start : start + size])
        return True

    def _count(self, name: str, candidates: Sequence[Candidate], said: Sequence[Score]) -> None:
        try:
            self._record.count(name, candidates, said)
        except ScoringError as error:
            self._error = error

    def _is_whole(self, candidate: Candidate, said: dict[str, Score]) -> bool:
        """Whether all scorers have spoken of a candidate, which is then done."""
        if not said.keys() >= self._scorers.keys():
            return False
        for name, scorer in self._combined.items():
            if name not in said:
                said[name] = scorer.combine(said) if candidate.is_reply else _no_reply(candidate)
        in_order = said if tuple(said) == self._names else {name: said[name] for name in self._names}
        self._done.append((candidate, in_order))
        return True

    def _employ(self, name: str) -> None:
        """Have somebody work on a scorer's inbox."""
        inbox = self._slow[name]
        threading.Thread(target=self._work, args=(name, inbox), name=f"scorer {name}", daemon=True).start()

    def _give_up_what_hangs(self) -> None:
        """Take from scorers the batches that they are too long over: these failed, and the rest is worked on anew. What
        hangs can't be ended; nobody listens to it any more."""
        most = self._record.max_seconds
        for name, batch in list(self._busy.values()):
            if time.monotonic() - batch.began > most and self._is_done(batch):
                failed = Score.failed(f"the scorer took more than {most:g} s over {len(batch.candidates)} replies")
                self._said.put((name, batch.candidates, [failed] * len(batch.candidates)))
                self._employ(name)

    def _is_done(self, batch: _Batch) -> bool:
        """Take a batch off what is worked on; False if somebody did so before."""
        with self._turns:
            return self._busy.pop(id(batch), None) is not None

    def _work(self, name: str, inbox: SimpleQueue[Candidate | None]) -> None:
        while (first := inbox.get()) is not None and not self._ended.is_set():
            batch = [first]
            with contextlib.suppress(Empty):
                while len(batch) < BATCH:
                    if (further := inbox.get_nowait()) is None:
                        return
                    batch.append(further)
            at_work = _Batch(batch, time.monotonic())
            self._busy[id(at_work)] = name, at_work
            said: list[Score] | BaseException
            try:
                said = _score(self._scorers[name], batch, self._prompts)
            except BaseException as error:  # for the thread that waits for it
                said = error
            if not self._is_done(at_work):
                return  # it took too long, and another one works in its place
            self._said.put((name, batch, said))
            if isinstance(said, BaseException):
                return


def score_owed(
    scorers: Mapping[str, Scorer],
    prompts: Mapping[str, Prompt],
    record: Record,
    candidates: Iterable[Candidate],
    known: Mapping[CandidateKey, Scores],
) -> Iterator[Scored]:
    """The candidates with every scorer's word, each when all have spoken: what is known stays, what misses or failed is
    asked for."""
    with Scoring(scorers, prompts, record) as scoring:
        rest = iter(candidates)
        while neighbours := list(islice(rest, _COUNTED // 2)):
            # Known words count before those beside them are asked for, as many as are remembered together: of a large
            # stock, only what failed is asked again, and one failure would follow the other.
            record.count_known({one.key: known[one.key] for one in neighbours if one.key in known})
            for start in range(0, len(neighbours), BATCH):
                some = neighbours[start : start + BATCH]
                whole = {c.key: {n: s for n, s in known.get(c.key, {}).items() if s.value is not None} for c in some}
                scoring.ask(some, whole)
                yield from scoring.answered()
            while scoring.owes:
                yield from scoring.wait()


def _score(scorer: Scorer, candidates: Sequence[Candidate], prompts: Mapping[str, Prompt]) -> list[Score]:
    """One scorer's word on each candidate; equal replies are asked about once."""
    places: dict[tuple[str, str, tuple[int, ...]], int] = {}
    places_N = [places.setdefault((c.key.prompt_id, c.text, c.token_ids), len(places)) for c in candidates]
    replies = [Reply(prompts[prompt_id], text, token_ids) for prompt_id, text, token_ids in places]
    said = run_in_batches(scorer, replies)
    return [said[place] for place in places_N]


def _no_reply(candidate: Candidate) -> Score:
    return Score.failed(f"no whole reply: {candidate.why}")
