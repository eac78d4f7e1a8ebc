"""Looking through candidates: which ones are wanted, a page of them, and one with all that is known of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlencode

import numpy as np

from rsft.engines.base import stream_seed
from rsft.errors import RunError
from rsft.lineage import set_out_from
from rsft.saved import saved_recipe
from rsft.selection.pool import Mask
from rsft.store import RunFolder
from rsft.store.files import inside
from rsft.types import CandidateKey, Prompt, Score
from rsft.web.books import Book, Leaf, Told, everywhere
from rsft.web.found import Found
from rsft.web.paging import paged
from rsft.web.sources import OWN, Source

PAGE = 25
_MOST = 10**9
_MADE, _HIGH, _LOW = "made", "high", "low"
DECISIONS = ("accepted", "rejected", "undecided")
ORDERS = {_MADE: "as they were drawn", _HIGH: "highest score first", _LOW: "lowest score first"}

_UNDECIDED = {"accepted": None, "rule": "", "explanation": ""}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which replies of an iteration, and `which` source's; what is left empty keeps all. A range is of the values of
    `scorer`, ends included, and so is the order by score; no candidate whose score failed is within a range."""

    iteration: int
    which: str = ""
    decision: str = ""
    rule: str = ""
    scorer: str = ""
    least: float | None = None
    most: float | None = None
    text: str = ""
    prompt: str = ""
    order: str = _MADE
    page: int = 1

    @classmethod
    def of(cls, said: Mapping[str, str]) -> Wanted:
        """From an address. Raises RunError for what is no number, or no such choice."""
        choices = {"decision": ("", *DECISIONS), "order": tuple(ORDERS)}
        values: dict[str, Any] = {}
        for name, kind in (("iteration", int), ("page", int), ("least", float), ("most", float)):
            try:
                if said.get(name, "").strip():
                    values[name] = kind(said[name])
                if abs(values.get(name, 0)) > _MOST and kind is int:
                    raise ValueError
            except ValueError:
                raise RunError(f"{name}: expected a number, found {said[name]!r}.") from None
        if "iteration" not in values:
            raise RunError("iteration: which one? The run's page has those that there are.")
        for name in ("decision", "rule", "scorer", "text", "prompt", "order"):
            values[name] = said.get(name) or ("" if name != "order" else _MADE)
            if values[name] not in choices.get(name, (values[name],)):
                raise RunError(f"{name}: expected {' or '.join(filter(None, choices[name]))}, found {values[name]!r}.")
        return cls(which=Source.of(said.get("which", "")).address, **values)

    @classmethod
    def of_run(cls, said: Mapping[str, str]) -> Wanted:
        """The same, of the candidates on which the run itself decided, whatever else was looked at."""
        return cls.of({**said, "which": OWN.address})

    @property
    def source(self) -> Source:
        """Whose replies."""
        return Source.of(self.which)

    def query(self, **changes: Any) -> str:
        """The address's part that asks for these, with changes."""
        said = asdict(replace(self, **changes))
        return urlencode({name: value for name, value in said.items() if value not in ("", None)})

    def found(self, book: Book) -> Found:
        """Those that are wanted. Raises RunError for what no candidate could be asked about."""
        if self.scorer and self.scorer not in book.scorers:
            raise RunError(f"The run has no scorer '{self.scorer}'. It has {', '.join(book.scorers)}.")
        saying = book.saying(self.text) if self.text else None
        by = None if self.order == _MADE or not self.scorer else self.scorer
        everyone = not (self.decision or self.rule or self.prompt or saying) and self.least is self.most is None
        masks = (
            (np.ones(size, dtype=np.bool_) for size in book.sizes)
            if everyone
            else (self._wanted_N(book, leaf, saying) for leaf in book.leaves())
        )
        return Found.of(book, masks, by, high=self.order == _HIGH)

    def _wanted_N(self, book: Book, leaf: Leaf, saying: Callable[[Leaf], Mask] | None) -> Mask:
        pool = leaf.pool
        wanted_N: Mask = np.ones(len(pool), dtype=np.bool_)
        if self.decision:
            wanted_N &= book.decided == (self.decision != "undecided")
        if self.decision in ("accepted", "rejected"):
            wanted_N &= leaf.accepted_N == (self.decision == "accepted")
        if self.rule:
            wanted_N &= leaf.rule_N == (book.rules.index(self.rule) if self.rule in book.rules else len(book.rules))
        if self.prompt:
            wanted_N &= pool.prompt_N == next((n for n, one in enumerate(pool.prompt_ids) if one == self.prompt), -1)
        if self.scorer:
            values_N = pool.scores[self.scorer]
            if self.least is not None:
                wanted_N &= values_N >= self.least
            if self.most is not None:
                wanted_N &= values_N <= self.most
        return wanted_N & saying(leaf) if saying is not None else wanted_N


def listed(book: Book, wanted: Wanted) -> dict[str, Any]:
    """A page of those that are wanted: each with its key, what was asked, the reply, its scores and its decision."""
    found = wanted.found(book)
    which, where = paged(range(len(found)), wanted.page, PAGE)
    some = found.places(which)
    texts, keys = book.texts_of(some), book.keys(some)
    asked = book.prompts({key.prompt_id for key in keys})
    rows = [
        {
            "key": asdict(key),
            "asked": asked[key.prompt_id].conversation[-1].content,
            "reply": texts[place],
            "accepted": one.accepted,
            "rule": one.rule,
            "scores": one.scores,
        }
        for key, place, one in zip(keys, some.tolist(), book.brief(some), strict=True)
    ]
    return {
        "rows": rows,
        "found": len(found),
        "all": len(book),
        **where,
        "scorers": list(book.scorers),
        "rules": book.rules,
        "orders": ORDERS,
        "decisions": DECISIONS,
    }


def in_full(book: Book, wanted: Wanted, key: CandidateKey) -> dict[str, Any]:
    """One candidate with its conversation, all replies to it, every score, and where it comes from and went; and which
    of the wanted ones stand before and behind it. Of a held-out prompt also what each measured policy replies to it.
    Raises RunError if there is no such candidate."""
    place = _place(book, key)
    (prompt,) = book.prompts({key.prompt_id}).values()
    replies = [{"this": one.candidate.key == key, **_told(one)} for one in book.replies(key.prompt_id)]
    anywhere = everywhere(book.folder, key.prompt_id) if book.source.heldout else {}
    before, behind, number, count = _around(book, wanted, place)
    return {
        "reply": next(one for one in replies if one["this"]),
        "siblings": replies,
        "everywhere": {
            Source(arm).title(1): [
                {"iteration": iteration, "which": Source(arm, heldout=True).address, **_told(one)}
                for iteration, one in told
            ]
            for arm, told in anywhere.items()
        },
        "prompt": _prompt(prompt),
        "lineage": _lineage(book, key),
        "labels": [asdict(label) for label in book.folder.labels(iteration=key.iteration) if label.key == key],
        "before": before,
        "behind": behind,
        "number": number,
        "count": count,
    }


def _around(book: Book, wanted: Wanted, place: int) -> tuple[Any, Any, int | None, int]:
    """The keys of the wanted ones before and behind a place, its number among them, and how many there are."""
    found = wanted.found(book)
    before, number, behind = found.around(place)
    near = [asdict(key) for key in book.keys(np.array([p for p in (before, behind) if p is not None], dtype=np.intp))]
    return (
        near[0] if before is not None else None,
        near[-1] if behind is not None else None,
        number,
        len(found),
    )


def _told(one: Told) -> dict[str, Any]:
    """A reply with its scores and its decision."""
    candidate = one.candidate
    return {
        "key": asdict(candidate.key),
        "text": candidate.text,
        "finish_reason": candidate.finish_reason,
        "why": candidate.why,
        "tokens": len(candidate.token_ids),
        "logprob": candidate.logprob,
        "scores": {name: _said(score) for name, score in one.scores.items()},
        **(_UNDECIDED if one.decision is None else asdict(one.decision)),
    }


def _lineage(book: Book, key: CandidateKey) -> dict[str, Any]:
    """What drew a candidate, from which seed, and the rows of its arm's trainings that it is in."""
    folder = book.folder
    generator = folder.ledger.generators().get(key.generator, {})
    trained = {one["info"]["policy"]["hash"]: one for one in folder.stages() if "policy" in (one["info"] or {})}
    by = trained.get(generator.get("policy", ""))
    base = (folder.stage_done(0, "policy", "evaluate") or {}).get("of_policy")
    # Until the base is measured, only the first iteration is known to set out from it.
    from_base = generator.get("policy") == base or (by is None and set_out_from(folder, key.iteration) == 0)
    seed = saved_recipe(folder.path).seed
    return {
        "generator": generator,
        "trained_in": None if by is None else {"iteration": by["iteration"], "arm": by["arm"]},
        "from_base": from_base,
        "run_seed": seed,
        "stream_seed": stream_seed(seed, key.iteration, key.prompt_id, key.sample_index),
        "trainings": [
            {"iteration": iteration, "row": row, "rows": rows}
            for iteration, arm in folder.done("train")
            if arm == book.source.name and book.split == "train"
            if (found := _row(folder, iteration, arm, key)) is not None
            for row, rows in [found]
        ],
    }


def _row(folder: RunFolder, iteration: int, arm: str, key: CandidateKey) -> tuple[int, int] | None:
    """Which row of an arm's training a candidate is, from 1, and how many there are; None if it is none."""
    file = inside(folder.path, f"iterations/{iteration}/{arm}/training.json")
    if not file.is_file():
        return None
    rows: Sequence[Mapping[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["rows"]
    wanted = asdict(key)
    return next(((number, len(rows)) for number, row in enumerate(rows, 1) if row == wanted), None)


def _prompt(prompt: Prompt) -> dict[str, Any]:
    """The conversation as the model read it, as the user had it where that differs, and the row's other fields."""
    own = [asdict(message) for message in prompt.conversation]
    read = [asdict(message) for message in prompt.messages]
    fields = {name: value if isinstance(value, str) else _json(value) for name, value in prompt.fields.items()}
    return {"read": read, "own": own if own != read else None, "fields": fields}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def _place(book: Book, key: CandidateKey) -> int:
    if key.iteration == book.drawn_in and (place := book.place(key)) is not None:
        return place
    raise RunError(
        f"Iteration {book.iteration} ({book.source.title(book.iteration)}) has no candidate {key.sample_index} of the "
        f"prompt '{key.prompt_id}' by {key.generator!r}. The list of candidates has those that there are."
    )


def _said(score: Score) -> dict[str, Any]:
    return {"value": score.value, "explanation": score.explanation, "failure": score.failure}
