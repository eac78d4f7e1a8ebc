"""The replies of one source in an iteration, as columns in the order of their making."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from rsft.columns import KEY
from rsft.decided import first_decided
from rsft.distributions import Bins
from rsft.errors import RunError
from rsft.evaluated import evaluated
from rsft.evaluation import Measured
from rsft.joined import Joined
from rsft.labelling import Frame
from rsft.parts import StoredParts
from rsft.reselection import Changes
from rsft.saved import saved_recipe
from rsft.selection import Pool, Selection
from rsft.selection.held import HeldPool
from rsft.selection.pool import Mask, Numbers, Places
from rsft.setup import measuring_rules
from rsft.store import RunFolder
from rsft.stored import StoredPool
from rsft.types import Candidate, CandidateKey, Decision, Prompt, Score
from rsft.web.precision import Precision
from rsft.web.sources import OWN, Source, check

HELD = 1 << 22
"""Candidates of a book that are held: some hundred bytes each, and as much as their texts once somebody searched."""


@dataclass(frozen=True, slots=True)
class Told:
    """One reply with what was said of it; no decision where none was made yet."""

    candidate: Candidate
    scores: Mapping[str, Score]
    decision: Decision | None


@dataclass(frozen=True, slots=True)
class Brief:
    """A reply's line in a list: the decision, None where none was made yet, and what each scorer that was asked said,
    None where it failed."""

    accepted: bool | None
    rule: str
    scores: Mapping[str, float | None]


class Leaf(Protocol):
    """Some of a book's replies, and what was decided on them: as a `StoredPool`."""

    pool: Pool
    accepted_N: Mask
    rule_N: Numbers
    start: int


class Book(ABC):
    """What every source has, leaf by leaf: one, or as many as a large run takes. `rule_N` numbers the `rules` that
    decided, −1 where nothing is decided yet; `drawn_in` is the iteration in the keys of the replies."""

    split: str
    folder: RunFolder
    iteration: int
    drawn_in: int
    source: Source
    decided: bool
    scorers: Sequence[str]
    rules: Sequence[str]

    def __init__(self) -> None:
        self._orders: dict[tuple[str, bool], Places] = {}

    @abstractmethod
    def __len__(self) -> int:
        """How many replies there are."""

    @abstractmethod
    def leaves(self) -> Iterator[Leaf]: ...

    @property
    @abstractmethod
    def only(self) -> Leaf | None:
        """The single leaf, if there is one: then everything is held."""

    @abstractmethod
    def leaf(self, number: int) -> Leaf:
        """A leaf by its number."""

    @property
    @abstractmethod
    def sizes(self) -> Sequence[int]:
        """How many replies each leaf has."""

    def holding(self, place: int) -> tuple[Leaf, int]:
        """The leaf that holds a place, and where."""
        ends = np.cumsum(self.sizes)
        number = int(np.searchsorted(ends, place, side="right"))
        return self.leaf(number), place - int(ends[number] - self.sizes[number])

    def by_score(self, leaf: Leaf, scorer: str, *, high: bool) -> Places:
        """All places of the single leaf in the order of a scorer's values, the highest first if so asked; where it
        failed is last."""
        if (scorer, high) not in self._orders:
            values_N = leaf.pool.scores[scorer]
            self._orders[scorer, high] = np.argsort(-values_N if high else values_N, kind="stable")
        return self._orders[scorer, high]

    def prompts(self, ids: set[str]) -> dict[str, Prompt]:
        """The prompts with these ids that the source replies to."""
        return {one.id: one for one in self.folder.load_prompts(self.split, ids)}

    @abstractmethod
    def keys(self, places: Places) -> list[CandidateKey]: ...

    @abstractmethod
    def place(self, key: CandidateKey) -> int | None:
        """Where a reply stands; None if it is none of these."""

    @abstractmethod
    def brief(self, places: Places) -> list[Brief]:
        """What was decided on replies at some places, and their scores."""

    @abstractmethod
    def texts_of(self, places: Places) -> dict[int, str]:
        """The replies at some places, by these."""

    @abstractmethod
    def saying(self, text: str) -> Callable[[Leaf], Mask]:
        """Tells of each leaf (N,) which replies have this text in them, whatever its case."""

    @abstractmethod
    def replies(self, prompt_id: str) -> list[Told]:
        """All replies to a prompt, with what was said of each."""


class Candidates(Book):
    """Candidates of train prompts: those on which a set of decisions was made, or all so far of an iteration on which
    the run has not decided yet. Raises RunError if there are none.

    Up to `HELD` of them are held; of more, leaf after leaf is read from a temporary file.
    """

    split = "train"

    def __init__(self, folder: RunFolder, iteration: int, source: Source = OWN, *, whole: bool = False) -> None:
        """`whole` holds all, however many: for rules that can't do otherwise."""
        super().__init__()
        check(folder, iteration, source)
        self.folder, self.iteration, self.source, self.drawn_in = folder, iteration, source, iteration
        # Decisions are made on what is drawn: there are no more of them.
        held = whole or folder.count_of("candidates", str(iteration)) <= HELD
        self.stored = StoredParts(folder, iteration, folder.noted_scorers(), source.name, unfinished=True, whole=held)
        if self.only is not None:
            self.only.pool = HeldPool.of_pool(self.only.pool)
            # Whoever asks for some texts has them from those that are held.
            self.only.texts_of = self.texts_of
        self.decided, self.rules, self.scorers = self.stored.decided, self.stored.rules, list(self.stored.fingerprints)
        self.changes = Changes(self.texts_of)
        self.precision = Precision(folder, iteration, self.scorers, self.frame)
        self._frames: dict[str, Frame] = {}
        self._said: tuple[str, Joined] | None = None

    def __len__(self) -> int:
        return len(self.stored)

    def leaves(self) -> Iterator[StoredPool]:
        return iter(self.stored)

    @property
    def only(self) -> StoredPool | None:
        return self.leaf(0) if self.stored.count == 1 else None

    def leaf(self, number: int) -> StoredPool:
        return self.stored.part(number)

    @property
    def sizes(self) -> Sequence[int]:
        return list(np.diff(self.stored.starts).tolist())

    def serving(self, rules: Selection) -> Candidates:
        """The same, on which these rules can decide."""
        if self.stored.serves(rules):
            return self
        return Candidates(self.folder, self.iteration, self.source, whole=True)

    def frame(self, scorer: str) -> Frame:
        """The replies that may be labelled for a scorer's threshold. Raises a UserError for one that the run lacks."""
        if scorer not in self._frames:
            recipe = saved_recipe(self.folder.path)
            self._frames[scorer] = Frame(self.folder, recipe, scorer, self.iteration, self.stored)
        return self._frames[scorer]

    def keys(self, places: Places) -> list[CandidateKey]:
        return self.stored.keys_of(places)

    def place(self, key: CandidateKey) -> int | None:
        (place,) = self.stored.places_of([key]).tolist()
        return place if place >= 0 else None

    def brief(self, places: Places) -> list[Brief]:
        accepted, rules, scores = self.stored.told_of(places)
        found = []
        for at in range(len(places)):
            values = {name: float(column[at]) for name, column in scores.items()}
            said = {name: None if np.isnan(value) else value for name, value in values.items()}
            if not self.decided:  # a scorer may still be at work
                said = {name: value for name, value in said.items() if value is not None}
            rule = self.rules[rules[at]] if self.decided else ""
            found.append(Brief(bool(accepted[at]) if self.decided else None, rule, said))
        return found

    @cached_property
    def _texts(self) -> Any:
        """(N,): all replies, as an Arrow array."""
        import pyarrow as pa

        assert self.only is not None
        places, texts = [], []
        for table in self.folder.tables("candidates", str(self.iteration), [*KEY, "text"]):
            there = self.only.keys.places(table)
            places.append(there[there >= 0])
            own = table["text"].filter(pa.array(there >= 0))
            texts += own.cast(pa.large_string()).chunks  # more than 2 GB of texts are one array as well
        # Of an array in parts, pyarrow takes some rows by copying it as a whole.
        whole = pa.concat_arrays(texts) if texts else pa.array([], type=pa.large_string())
        rows: Numbers = np.arange(len(whole), dtype=np.int32)
        row_of = np.empty(len(self), dtype=np.int32)
        if places:
            row_of[np.concatenate(places)] = rows
        # As a rule decisions stand in the order of their candidates.
        return whole if np.array_equal(row_of, rows) else whole.take(pa.array(row_of))

    def texts_of(self, places: Places) -> dict[int, str]:
        if self.only is None:
            return self.stored.texts_of(places)
        return dict(zip(places.tolist(), self._texts.take(places).to_pylist(), strict=True))

    def saying(self, text: str) -> Callable[[Leaf], Mask]:
        if self.only is not None:
            return lambda _: _has(self._texts, text)
        if self._said is None or self._said[0] != text:
            tables = self.folder.tables("candidates", str(self.iteration), [*KEY, "text"])
            rows = ((self.stored.rows_of(table), _has(table["text"], text)) for table in tables)
            self._said = text, self.stored.joined(np.bool_, False, rows)
        said = self._said[1]
        return lambda leaf: said.column(self.stored.number_of(leaf.start))

    @cached_property
    def bins(self) -> dict[str, Bins]:
        """The histogram of each scorer's values."""
        found = {name: Bins(of.least, of.most) for name, of in self.stored.ranges.items()}
        for leaf in self.leaves():
            for name, values_N in leaf.pool.scores.items():
                found[name].add(values_N, leaf.accepted_N)
        return found

    def sorted_in(self, leaf: Leaf, name: str, places: Places) -> Places:
        """How many of a leaf's replies at some places are in each bin of a scorer's histogram."""
        if self.only is None:
            return self.bins[name].sort(leaf.pool.scores[name][places])
        return np.bincount(self._bin_N[name][places], minlength=len(self.bins[name]))

    @cached_property
    def _bin_N(self) -> dict[str, Any]:
        """(N,) each: the bins of all replies of the single leaf."""
        assert self.only is not None
        return {name: self.bins[name].bins_of(values_N) for name, values_N in self.only.pool.scores.items()}

    def replies(self, prompt_id: str) -> list[Told]:
        where: dict[str, Any] = {"iteration": self.iteration, "prompt_ids": {prompt_id}}
        candidates = {one.key: one for one in self.folder.candidates(**where)}
        scores = self.folder.own_scores(**where)
        only, name = {"prompt_id": [prompt_id]}, self.source.name
        decided: Mapping[CandidateKey, Decision | None]
        if self.decided:
            decided = first_decided(self.folder, self.iteration, name, len(candidates), only=only)
        else:
            places = self.stored.places_of(sorted(candidates))
            decided = {key: None for key, place in zip(sorted(candidates), places, strict=True) if place >= 0}
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
        numbers: dict[str, int] = {}
        said = [numbers.setdefault(one.decision.rule, len(numbers)) for one in self._measured]
        self.rules, self.scorers = list(numbers), list(scores)
        accepted_N = np.array([one.passed for one in self._measured], dtype=np.bool_)
        self._leaf = _Held(Pool.of(candidates, scores), accepted_N, np.array(said, dtype=np.int32))
        self._places = {one.key: place for place, one in enumerate(candidates)}

    def __len__(self) -> int:
        return len(self._measured)

    def leaves(self) -> Iterator[Leaf]:
        yield self._leaf

    @property
    def only(self) -> Leaf:
        return self._leaf

    def leaf(self, number: int) -> Leaf:
        return self._leaf

    @property
    def sizes(self) -> Sequence[int]:
        return [len(self)]

    def keys(self, places: Places) -> list[CandidateKey]:
        return [self._measured[int(place)].candidate.key for place in places]

    def place(self, key: CandidateKey) -> int | None:
        return self._places.get(key)

    def brief(self, places: Places) -> list[Brief]:
        some = [self._measured[int(place)] for place in places]
        return [
            Brief(one.passed, one.decision.rule, {name: score.value for name, score in one.all_scores.items()})
            for one in some
        ]

    def texts_of(self, places: Places) -> dict[int, str]:
        return {place: self._measured[place].candidate.text for place in places.tolist()}

    def saying(self, text: str) -> Callable[[Leaf], Mask]:
        import pyarrow as pa

        return lambda leaf: _has(pa.array(leaf.pool.texts, type=pa.string()), text)

    def replies(self, prompt_id: str) -> list[Told]:
        of_prompt = (one for one in self._measured if one.candidate.key.prompt_id == prompt_id)
        return [Told(one.candidate, one.all_scores, one.decision) for one in of_prompt]


@dataclass
class _Held:
    """A leaf that is all of a book."""

    pool: Pool
    accepted_N: Mask
    rule_N: Numbers
    start: int = 0


def _has(texts: Any, text: str) -> Mask:
    """(N,): which of some texts, in an Arrow array, have another one in them."""
    import pyarrow.compute as pc

    found = pc.match_substring(texts, text, ignore_case=True)
    return np.asarray(found, dtype=np.bool_)


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
