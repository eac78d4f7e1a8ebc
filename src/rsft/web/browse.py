"""Looking through candidates: which ones are wanted, a page of them, and one with all that is known of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlencode

import numpy as np

from rsft.engines.base import stream_seed
from rsft.errors import RunError
from rsft.lineage import set_out_from
from rsft.saved import saved_recipe
from rsft.selection.pool import Mask, Places
from rsft.store import RunFolder
from rsft.store.files import inside
from rsft.stored import first_decided
from rsft.types import CandidateKey, Prompt, Score
from rsft.web.shelf import Book

PAGE = 25
_MADE, _HIGH, _LOW = "made", "high", "low"
ORDERS = {_MADE: "as they were drawn", _HIGH: "highest score first", _LOW: "lowest score first"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which candidates of an iteration; what is left empty keeps all. A range is of the values of `scorer`, ends
    included, and so is the order by score; without one, no candidate whose score failed is within a range."""

    iteration: int
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
        choices = {"decision": ("", "accepted", "rejected"), "order": tuple(ORDERS)}
        values: dict[str, Any] = {}
        for name, kind in (("iteration", int), ("page", int), ("least", float), ("most", float)):
            try:
                if said.get(name, "").strip():
                    values[name] = kind(said[name])
            except ValueError:
                raise RunError(f"{name}: expected a number, found {said[name]!r}.") from None
        if "iteration" not in values:
            raise RunError("iteration: which one? The run's page has those that there are.")
        for name in ("decision", "rule", "scorer", "text", "prompt", "order"):
            values[name] = said.get(name) or ("" if name != "order" else _MADE)
            if values[name] not in choices.get(name, (values[name],)):
                raise RunError(f"{name}: expected {' or '.join(filter(None, choices[name]))}, found {values[name]!r}.")
        return cls(**values)

    def query(self, **changes: Any) -> str:
        """The address's part that asks for these, with changes."""
        said = asdict(replace(self, **changes))
        return urlencode({name: value for name, value in said.items() if value not in ("", None)})

    def places(self, book: Book) -> Places:
        """Where they stand, in their order. Raises RunError for what no candidate could be asked about."""
        wanted_N = self._wanted_N(book)
        if self.order == _MADE or not self.scorer:
            return np.flatnonzero(wanted_N)
        order = book.by_score(self.scorer, high=self.order == _HIGH)
        ordered: Places = order[wanted_N[order]]
        return ordered

    def _wanted_N(self, book: Book) -> Mask:
        wanted_N: Mask = np.ones(len(book.pool), dtype=np.bool_)
        if self.decision:
            wanted_N &= book.stored.accepted_N == (self.decision == "accepted")
        if self.rule:
            wanted_N &= book.rule_N == (book.rules.index(self.rule) if self.rule in book.rules else -1)
        if self.prompt:
            numbers = {prompt_id: number for number, prompt_id in enumerate(book.pool.prompt_ids)}
            wanted_N &= book.pool.prompt_N == numbers.get(self.prompt, -1)
        if self.scorer and self.scorer not in book.pool.scores:
            raise RunError(f"The run has no scorer '{self.scorer}'. It has {', '.join(book.pool.scores)}.")
        if self.scorer:
            values_N = book.pool.scores[self.scorer]
            if self.least is not None:
                wanted_N &= values_N >= self.least
            if self.most is not None:
                wanted_N &= values_N <= self.most
        return wanted_N & _saying(book, self.text) if self.text else wanted_N


def _saying(book: Book, text: str) -> Mask:
    """Which replies have this text in them, whatever its case."""
    import pyarrow.compute as pc

    found: Mask = pc.match_substring(book.texts, text, ignore_case=True).to_numpy(zero_copy_only=False)
    return found.astype(np.bool_)


def listed(book: Book, wanted: Wanted) -> dict[str, Any]:
    """A page of those that are wanted: each with its key, what was asked, the reply, its scores and its decision."""
    places = wanted.places(book)
    pages = max(1, -(-len(places) // PAGE))
    page = min(max(1, wanted.page), pages)
    some = places[(page - 1) * PAGE : page * PAGE]
    texts = book.texts.take(some).to_pylist()
    keys = [_key(book, int(place)) for place in some]
    asked = {one.id: one for one in book.folder.load_prompts("train", {key.prompt_id for key in keys})}
    rows = [
        {
            "key": asdict(key),
            "asked": asked[key.prompt_id].conversation[-1].content,
            "reply": text,
            "accepted": bool(book.stored.accepted_N[place]),
            "rule": _rule(book, int(place)),
            "scores": {name: _number(values_N[place]) for name, values_N in book.pool.scores.items()},
        }
        for key, place, text in zip(keys, some, texts, strict=True)
    ]
    return {
        "rows": rows,
        "found": len(places),
        "all": len(book.pool),
        "first": (page - 1) * PAGE + 1,
        "page": page,
        "pages": pages,
        "scorers": list(book.pool.scores),
        "rules": book.rules,
        "orders": ORDERS,
    }


def in_full(book: Book, wanted: Wanted, key: CandidateKey) -> dict[str, Any]:
    """One candidate with its conversation, all replies to it, every score, and where it comes from and went; and which
    of the wanted ones stand before and behind it. Raises RunError if there is no such candidate."""
    folder, ids = book.folder, {key.prompt_id}
    place = _place(book, key)
    (prompt,) = folder.load_prompts("train", ids)
    candidates = {one.key: one for one in folder.candidates(iteration=key.iteration, prompt_ids=ids)}
    scores = folder.own_scores(iteration=key.iteration, prompt_ids=ids)
    decided = first_decided(folder, key.iteration, "policy", len(candidates), only={"prompt_id": [key.prompt_id]})
    replies = [
        {
            "key": asdict(one),
            "this": one == key,
            "text": candidates[one].text,
            "finish_reason": candidates[one].finish_reason,
            "why": candidates[one].why,
            "tokens": len(candidates[one].token_ids),
            "logprob": candidates[one].logprob,
            "scores": {name: _said(score) for name, score in scores.get(one, {}).items()},
            **asdict(decision),
        }
        for one, decision in decided.items()
    ]
    before, behind, number, count = _around(book, wanted, place)
    return {
        "reply": next(one for one in replies if one["this"]),
        "siblings": replies,
        "prompt": _prompt(prompt),
        "lineage": _lineage(folder, key),
        "labels": [asdict(label) for label in folder.labels(iteration=key.iteration) if label.key == key],
        "before": before,
        "behind": behind,
        "number": number,
        "count": count,
    }


def _around(book: Book, wanted: Wanted, place: int) -> tuple[Any, Any, int | None, int]:
    """The keys of the wanted ones before and behind a place, its number among them, and how many there are."""
    places = wanted.places(book)
    found = np.flatnonzero(places == place)
    if not len(found):
        return None, None, None, len(places)
    at = int(found[0])
    before = asdict(_key(book, int(places[at - 1]))) if at else None
    behind = asdict(_key(book, int(places[at + 1]))) if at + 1 < len(places) else None
    return before, behind, at + 1, len(places)


def _lineage(folder: RunFolder, key: CandidateKey) -> dict[str, Any]:
    """What drew a candidate, from which seed, and the rows of the trainings that it is in."""
    generator = folder.ledger.generators().get(key.generator, {})
    trained = {one["info"]["policy"]["hash"]: one for one in folder.stages() if "policy" in (one["info"] or {})}
    by = trained.get(generator.get("policy", ""))
    seed = saved_recipe(folder.path).seed
    return {
        "generator": generator,
        "trained_in": None if by is None else {"iteration": by["iteration"], "arm": by["arm"]},
        "set_out_from": set_out_from(folder, key.iteration),
        "run_seed": seed,
        "stream_seed": stream_seed(seed, key.iteration, key.prompt_id, key.sample_index),
        "trainings": [
            {"iteration": iteration, "row": row, "rows": rows}
            for iteration, arm in folder.done("train")
            if arm == "policy" and (found := _row(folder, iteration, key)) is not None
            for row, rows in [found]
        ],
    }


def _row(folder: RunFolder, iteration: int, key: CandidateKey) -> tuple[int, int] | None:
    """Which row of an iteration's training a candidate is, from 1, and how many there are; None if it is none."""
    file = inside(folder.path, f"iterations/{iteration}/policy/training.json")
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
    same = book.pool.prompt_N == next((n for n, one in enumerate(book.pool.prompt_ids) if one == key.prompt_id), -1)
    for place in np.flatnonzero(same & (book.pool.sample_N == key.sample_index)):
        if _key(book, int(place)) == key:
            return int(place)
    raise RunError(
        f"Iteration {key.iteration} has no candidate {key.sample_index} of the prompt '{key.prompt_id}' on which the "
        "run decided. The list of candidates has those that there are."
    )


def _key(book: Book, place: int) -> CandidateKey:
    return book.stored.keys.key(book.iteration, place)


def _rule(book: Book, place: int) -> str:
    name: str = book.rules[book.rule_N[place]]
    return name


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _said(score: Score) -> dict[str, Any]:
    return {"value": score.value, "explanation": score.explanation, "failure": score.failure}
