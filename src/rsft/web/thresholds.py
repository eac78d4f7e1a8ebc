"""Moving the lines that a run's rules draw, and seeing at once what changes: decided anew, by the selection's own code,
from stored scores. Only lines can be moved here: no rule, and so no code, comes from an address."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from rsft.config.schedule import at_iteration
from rsft.errors import RunError
from rsft.likeness import COMPARED, MEASURED
from rsft.reselection import decided_again, reselect
from rsft.saved import saved_recipe, with_selection
from rsft.selection import Decided, parse_selection
from rsft.selection.certified import Certified
from rsft.selection.pool import Mask
from rsft.selection.threshold import Threshold
from rsft.stored import StoredPool
from rsft.web.books import Candidates

_SHOWN = 8
_STEPS = 100
_OF_RULE, _NEW, _ON = "line.", "new.", "on."
WIDTH, HEIGHT = 400, 90

Rules = Sequence[str | Mapping[str, Any]]


def own_rules(run: Path, iteration: int) -> Rules:
    """The rules that the run's recipe has in an iteration."""
    rules: Rules = at_iteration(saved_recipe(run), iteration).selection
    return rules


def moved_rules(rules: Rules, scorers: Sequence[str], lines: Mapping[str, str]) -> Rules:
    """The rules with other lines: `line.N` is the value at which rule N (a comparison) draws its line now, `new.NAME`
    that of a further one, `NAME >= value`, which stands before all rules that weigh candidates against each other.
    A line counts only with `on.` and its name beside it. Without any key the rules stay. Raises RunError for a value
    that is no number."""
    if not any(name.startswith((_OF_RULE, _NEW)) for name in lines):
        return rules
    moved: list[str | Mapping[str, Any]] = []
    parsed = parse_selection(rules).rules
    for number, (said, rule) in enumerate(zip(rules, parsed, strict=True)):
        name = f"{_OF_RULE}{number}"
        if not isinstance(rule, Threshold) or name not in lines:
            moved.append(said)
        elif lines.get(_ON + name):
            value = _value(lines[name])
            moved.append(said if float(value) == rule.value else f"{rule.score} {rule.comparison} {value}")
    further = [f"{scorer} >= {_value(lines[_NEW + scorer])}" for scorer in scorers if lines.get(f"{_ON}{_NEW}{scorer}")]
    first = next((at for at, rule in enumerate(parse_selection(moved).rules) if not rule.per_candidate), len(moved))
    return [*moved[:first], *further, *moved[first:]]


def _value(said: str) -> str:
    try:
        if not math.isfinite(float(said)):
            raise ValueError
    except ValueError:
        raise RunError(f"A line stands at a number; found {said!r}.") from None
    return said.strip()


def effect(book: Candidates, run: Path, shown: str, rules: Rules) -> dict[str, Any]:
    """What the rules come to in the book's iteration: the numbers of `rsft select`, the precision by the labels, the
    replies that change sides, and the histograms. `shown` is the run as the user types it."""
    # A schedule may have other rules, in this iteration too: the recipe's own ones are no exception.
    recipe = with_selection(saved_recipe(run), rules)
    parse_selection(rules).check(list(recipe.scorers))
    selection = parse_selection(rules)
    book = book.serving(selection)
    accepted_B = {name: np.zeros(len(bins), dtype=np.intp) for name, bins in book.bins.items()}
    gained, lost, precise = _Changed(book), _Changed(book), book.precision.counting()
    names: list[str] = [rule.name for rule in selection.rules]
    for part, now in decided_again(book.stored, book.folder, recipe, book.iteration):
        before_N, now_N = part.accepted_N, now.accepted_N
        book.changes.add(part, now)
        gained.add(part, now, now_N & ~before_N)
        lost.add(part, now, before_N & ~now_N)
        places = np.flatnonzero(now_N)
        for name in accepted_B:
            accepted_B[name] += book.sorted_in(part, name, places)
        precise.add(part, now_N)
    return {
        **book.changes.told(),
        "gained": gained.told(names),
        "lost": lost.told(names),
        "gains": gained.count,
        "losses": lost.count,
        "scorers": [_scorer(name, bins.with_accepted(accepted_B[name])) for name, bins in book.bins.items()],
        "rules": names,
        "most": {"measured": MEASURED, "compared": COMPARED},
        "precision": precise.told(blind=not any(isinstance(rule, Certified) for rule in selection.rules)),
        "command": f"rsft select {shlex.quote(shown)} --set {shlex.quote(_override(rules))}",
    }


def lines_of(
    rules: Rules, scorers: Sequence[Mapping[str, Any]], moved: Mapping[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """Of each scorer the lines that can be moved, where they stand now: those that rules draw, or one that none draws
    yet. `moved` says what `moved_rules` was told."""
    lines: dict[str, list[dict[str, Any]]] = {scorer["name"]: [] for scorer in scorers}

    def add(scorer: str, name: str, comparison: str, value: float, on: bool) -> None:
        if name in moved:
            value, on = float(_value(moved[name])), bool(moved.get(_ON + name))
        lines[scorer].append({"name": name, "comparison": comparison, "value": value, "on": on})

    for number, rule in enumerate(parse_selection(rules).rules):
        if isinstance(rule, Threshold) and rule.score in lines:
            add(rule.score, f"{_OF_RULE}{number}", rule.comparison, rule.value, True)
    for scorer in scorers:
        if not lines[scorer["name"]]:
            add(scorer["name"], _NEW + scorer["name"], ">=", scorer["low"], False)
    return lines


def at_certified(precision: Mapping[str, Any] | None, lines: Mapping[str, Sequence[Mapping[str, Any]]]) -> str | None:
    """The address's part that puts the line on the labels' scorer where it is certified, and leaves the others; None
    where nothing is, or no such line is there."""
    if precision is None or precision["certified"] is None:
        return None
    own = next((line for line in lines[precision["scorer"]] if line["comparison"] == ">="), None)
    if own is None:
        return None
    said = {}
    for line in (line for of_scorer in lines.values() for line in of_scorer):
        said[line["name"]] = repr(precision["certified"] if line is own else line["value"])
        if line["on"] or line is own:
            said[_ON + line["name"]] = "1"
    return urlencode(said)


def save(run: Path, rules: Rules, name: str) -> dict[str, Any]:
    """Keep what the rules decide in all iterations under a name, as `rsft select --save` does. Raises a UserError."""
    return reselect(run, [_override(rules)], name)


def _override(rules: Rules) -> str:
    return f"selection={json.dumps(rules, ensure_ascii=False)}"


class _Changed:
    """The first of the candidates that change sides, in a random order that stays: what decided before and now."""

    def __init__(self, book: Candidates) -> None:
        self._book, self.count = book, 0
        self._first: list[tuple[int, int, int, int]] = []

    def add(self, part: StoredPool, now: Decided, changed_N: Mask) -> None:
        places = np.flatnonzero(changed_N)
        self.count += len(places)
        if len(places) > _SHOWN:
            places = places[np.argpartition(part.pool.lots_N[places], _SHOWN)[:_SHOWN]]
        columns = (part.pool.lots_N[places], places + part.start, part.rule_N[places], now.by_N[places])
        new = zip(*(column.tolist() for column in columns), strict=True)
        self._first = sorted([*self._first, *new])[:_SHOWN]

    def told(self, rules: Sequence[str]) -> list[dict[str, Any]]:
        """`rules` are those that decide now."""
        book, names = self._book, [*rules, "accepted"]
        places = np.array([place for _, place, _, _ in self._first], dtype=np.intp)
        texts, keys = book.texts_of(places) if self._first else {}, book.keys(places)
        return [
            {
                "key": asdict(key),
                "reply": texts[place],
                "before": book.rules[before],
                "now": names[now],
                "scores": one.scores,
            }
            for key, (_, place, before, now), one in zip(keys, self._first, book.brief(places), strict=True)
        ]


def _scorer(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """A scorer's histogram as bars in a drawing of WIDTH × HEIGHT, and where a line on it can stand."""
    edges, counts = said["edges"], said["counts"]
    low, high = edges[0], edges[-1]
    step = 10.0 ** round(math.log10((high - low) / _STEPS))
    most = max(1, *counts)
    bars = [
        {
            "x": round(WIDTH * (left - low) / (high - low), 2),
            "width": round(WIDTH * (right - left) / (high - low) - 1, 2),
            # A bin that is not empty is to be seen beside one that holds all.
            "height": round(max(2.0, HEIGHT * count / most), 1) if count else 0,
            "accepted": round(max(2.0, HEIGHT * accepted / most), 1) if accepted else 0,
            "said": f"{left:.3g} to {right:.3g}: {count:,}, of which {accepted:,} accepted",
        }
        for left, right, count, accepted in zip(edges, edges[1:], counts, said["accepted"], strict=False)
    ]
    return {
        "name": name,
        "failed": said["failed"],
        "low": _neat(math.floor(low / step) * step),
        "high": _neat(math.ceil(high / step) * step),
        "from": low,
        "to": high,
        "step": step,
        "bars": bars,
        "width": WIDTH,
        "height": HEIGHT,
    }


def _neat(value: float) -> float:
    """Without the noise of its last digits."""
    return float(f"{value:.12g}")
