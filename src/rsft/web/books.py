"""The replies of one source in an iteration, as columns in the order of their making."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rsft.columns import KEY
from rsft.decided import deciding_rules, first_decided
from rsft.distributions import Bins
from rsft.errors import RunError
from rsft.evaluated import evaluated
from rsft.evaluation import Measured
from rsft.labelling import Frame
from rsft.reselection import Changes
from rsft.saved import saved_recipe
from rsft.selection import Pool
from rsft.selection.held import HeldPool
from rsft.selection.pool import Mask, Numbers, Places
from rsft.setup import measuring_rules
from rsft.store import RunFolder
from rsft.stored import StoredPool
from rsft.types import Candidate, CandidateKey, Decision, Prompt, Score
from rsft.web.precision import Precision
from rsft.web.sources import OWN, Source, check


@dataclass(frozen=True, slots=True)
class Told:
    """One reply with what was said of it; no decision where none was made yet."""

    candidate: Candidate
    scores: Mapping[str, Score]
    decision: Decision | None


class Book(ABC):
    """What every source has. `rule_N` numbers the `rules` that decided, −1 where nothing is decided yet; `drawn_in` is
    the iteration in the keys of the replies."""

    split: str
    folder: RunFolder
    iteration: int
    drawn_in: int
    source: Source
    decided: bool
    pool: Pool
    accepted_N: Mask
    rules: Sequence[str]
    rule_N: Numbers

    def __init__(self) -> None:
        self._orders: dict[tuple[str, bool], Places] = {}

    def by_score(self, scorer: str, *, high: bool) -> Places:
        """All places in the order of a scorer's values, the highest first if so asked; where it failed is last."""
        if (scorer, high) not in self._orders:
            values_N = self.pool.scores[scorer]
            self._orders[scorer, high] = np.argsort(-values_N if high else values_N, kind="stable")
        return self._orders[scorer, high]

    def prompts(self, ids: set[str]) -> dict[str, Prompt]:
        """The prompts with these ids that the source replies to."""
        return {one.id: one for one in self.folder.load_prompts(self.split, ids)}

    @abstractmethod
    def key(self, place: int) -> CandidateKey: ...

    @abstractmethod
    def scores(self, place: int) -> dict[str, float | None]:
        """What each scorer that was asked said of a reply, None where it failed."""

    @property
    @abstractmethod
    def texts(self) -> Any:
        """(N,): the replies, as an Arrow array."""

    @abstractmethod
    def replies(self, prompt_id: str) -> list[Told]:
        """All replies to a prompt, with what was said of each."""


class Candidates(Book):
    """Candidates of train prompts: those on which a set of decisions was made, or all so far of an iteration on which
    the run has not decided yet. Raises RunError if there are none."""

    split = "train"

    def __init__(self, folder: RunFolder, iteration: int, source: Source = OWN) -> None:
        super().__init__()
        check(folder, iteration, source)
        self.folder, self.iteration, self.source, self.drawn_in = folder, iteration, source, iteration
        self.stored = StoredPool(folder, iteration, folder.noted_scorers(), source.name, unfinished=True)
        self.pool = self.stored.pool = HeldPool.of_pool(self.stored.pool)
        self.accepted_N, self.decided = self.stored.accepted_N, self.stored.decided
        self.rules, self.rule_N = deciding_rules(folder, iteration, source.name)
        if not self.decided:
            self.rule_N = np.full(len(self.pool), -1, dtype=np.int32)
        self.changes = Changes(self.stored, self.texts_of)
        # Whoever asks for some texts has them from those that are held.
        self.stored.texts_of = self.texts_of
        self.precision = Precision(folder, iteration, list(self.pool.scores), self.frame)
        self._frames: dict[str, Frame] = {}

    def frame(self, scorer: str) -> Frame:
        """The replies that may be labelled for a scorer's threshold. Raises a UserError for one that the run lacks."""
        if scorer not in self._frames:
            recipe = saved_recipe(self.folder.path)
            self._frames[scorer] = Frame(self.folder, recipe, scorer, self.iteration, self.stored)
        return self._frames[scorer]

    def key(self, place: int) -> CandidateKey:
        return self.stored.keys.key(self.iteration, place)

    def scores(self, place: int) -> dict[str, float | None]:
        values = {name: float(values_N[place]) for name, values_N in self.pool.scores.items()}
        failed = {name: None if np.isnan(value) else value for name, value in values.items()}
        # Where nothing is decided yet, a scorer may still be at work.
        return failed if self.decided else {name: value for name, value in failed.items() if value is not None}

    @cached_property
    def texts(self) -> Any:
        import pyarrow as pa

        places, texts = [], []
        for table in self.folder.tables("candidates", str(self.iteration), [*KEY, "text"]):
            there = self.stored.keys.places(table)
            places.append(there[there >= 0])
            own = table["text"].filter(pa.array(there >= 0))
            texts += own.cast(pa.large_string()).chunks  # more than 2 GB of texts are one array as well
        # Of an array in parts, pyarrow takes some rows by copying it as a whole.
        whole = pa.concat_arrays(texts) if texts else pa.array([], type=pa.large_string())
        rows: Numbers = np.arange(len(whole), dtype=np.int32)
        row_of = np.empty(len(self.pool), dtype=np.int32)
        if places:
            row_of[np.concatenate(places)] = rows
        # As a rule decisions stand in the order of their candidates.
        return whole if np.array_equal(row_of, rows) else whole.take(pa.array(row_of))

    def texts_of(self, places: Places) -> dict[int, str]:
        """The replies at some places, by these."""
        return dict(zip(places.tolist(), self.texts.take(places).to_pylist(), strict=True))

    @cached_property
    def bins(self) -> dict[str, Bins]:
        """Each scorer's values in the bins of its histogram."""
        return {name: Bins(values_N) for name, values_N in self.pool.scores.items()}

    def replies(self, prompt_id: str) -> list[Told]:
        where: dict[str, Any] = {"iteration": self.iteration, "prompt_ids": {prompt_id}}
        candidates = {one.key: one for one in self.folder.candidates(**where)}
        scores = self.folder.own_scores(**where)
        only, name = {"prompt_id": [prompt_id]}, self.source.name
        decided: Mapping[CandidateKey, Decision | None]
        if self.decided:
            decided = first_decided(self.folder, self.iteration, name, len(candidates), only=only)
        else:
            numbers = [n for n, one in enumerate(self.pool.prompt_ids) if one == prompt_id]
            decided = {self.key(int(place)): None for place in np.flatnonzero(np.isin(self.pool.prompt_N, numbers))}
        return [Told(candidates[key], scores.get(key, {}), decision) for key, decision in decided.items()]


class HeldOut(Book):
    """Replies to held-out prompts, by which an arm was measured: a greedy one to each, and samples. They are judged as
    the summary judges them. Raises RunError if the arm was not measured."""

    split = "heldout"

    def __init__(self, folder: RunFolder, iteration: int, source: Source) -> None:
        super().__init__()
        check(folder, iteration, source)
        recipe = saved_recipe(folder.path)
        found = evaluated(folder, recipe, iteration, source.name)
        if found is None:
            raise RunError(
                f"Some of the held-out replies of iteration {iteration} ({source.name}) in {folder.path} are damaged, "
                f"or lack a score. Go on with the run, which mends that: rsft resume {folder.path}"
            )
        self.folder, self.iteration, self.source, self.decided = folder, iteration, source, True
        self.drawn_in = drawn_in(folder, iteration, source)
        self._measured: list[Measured] = [*found.greedy.values(), *(one for of in found.sampled.values() for one in of)]
        candidates = [one.candidate for one in self._measured]
        names = dict.fromkeys(name for one in self._measured for name in one.all_scores)
        unasked = Score.failed("it was not asked")
        scores = {name: [one.all_scores.get(name, unasked) for one in self._measured] for name in names}
        self.pool = Pool.of(candidates, scores)
        self.accepted_N = np.array([one.passed for one in self._measured], dtype=np.bool_)
        numbers: dict[str, int] = {}
        said = [numbers.setdefault(one.decision.rule, len(numbers)) for one in self._measured]
        self.rules, self.rule_N = list(numbers), np.array(said, dtype=np.int32)

    def key(self, place: int) -> CandidateKey:
        return self._measured[place].candidate.key

    def scores(self, place: int) -> dict[str, float | None]:
        return {name: score.value for name, score in self._measured[place].all_scores.items()}

    @cached_property
    def texts(self) -> Any:
        import pyarrow as pa

        return pa.array(self.pool.texts, type=pa.string())

    def replies(self, prompt_id: str) -> list[Told]:
        of_prompt = (one for one in self._measured if one.candidate.key.prompt_id == prompt_id)
        return [Told(one.candidate, one.all_scores, one.decision) for one in of_prompt]


def open_book(folder: RunFolder, iteration: int, source: Source) -> Book:
    """A source's replies of an iteration. Raises a UserError where there are none."""
    return (HeldOut if source.heldout else Candidates)(folder, iteration, source)


def written(folder: RunFolder, iteration: int, source: Source) -> Any:
    """What a book is read from: other segments make another book."""
    where = str(drawn_in(folder, iteration, source) if source.heldout else iteration)
    scopes = (("candidates", where), ("scores", where), ("decisions", f"{iteration}:{source.name}"))
    segments = [folder.ledger.segments(kind, scope) for kind, scope in scopes]
    # A ledger that is held open stays the same file even where another run was put in its place.
    file = folder.ledger.path.stat().st_ino
    return file, segments, folder.noted_scorers(), folder.noted_heldout_scorers()


def drawn_in(folder: RunFolder, iteration: int, source: Source) -> int:
    """The iteration in which an arm's held-out replies were drawn: an earlier one, if its policy was measured there."""
    return int((folder.stage_done(iteration, source.name, "evaluate") or {}).get("drawn_in", iteration))


def everywhere(folder: RunFolder, prompt_id: str) -> dict[str, list[tuple[int, Told]]]:
    """The greedy replies to a held-out prompt, by arm and in the order of iterations: the base is the policy's 0."""
    recipe = saved_recipe(folder.path)
    rules = measuring_rules(recipe)
    found: dict[str, list[tuple[int, Told]]] = {}
    for iteration, arm in sorted(folder.done("evaluate")):
        said = evaluated(folder, recipe, iteration, arm, rules, {prompt_id})
        reply = None if said is None else said.greedy.get(prompt_id)
        if reply is not None:
            found.setdefault(arm, []).append((iteration, Told(reply.candidate, reply.all_scores, reply.decision)))
    return {arm: found[arm] for arm in sorted(found, key=lambda arm: Source(arm).title(1) != "policy")}
