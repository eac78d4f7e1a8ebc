"""Lines on scores, such as 'facts >= 1', and their places among a selection's rules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_LINE = re.compile(r"\s*([\w.-]+)\s*(>=|<=|==|>|<)\s*(\S+)\s*")


class Line(NamedTuple):
    """A comparison of a score with what stands right of the sign: a number, or 'certified'."""

    score: str
    sign: str
    value: str


def line_of(said: str) -> Line | None:
    """The line that a text is, if it is one."""
    found = _LINE.fullmatch(said)
    return Line(*found.groups()) if found else None


def with_line(rules: Sequence[Any], said: str) -> list[Any]:
    """The rules with this line in place of those on its score that point the same way, or want one value; or, where
    there is none, behind the last line of all."""
    new = line_of(said)
    assert new is not None
    lines = {place: line for place, rule in enumerate(rules) if (line := _line_in(rule)) is not None}
    old = [place for place, line in lines.items() if line.score == new.score and _agree(line.sign, new.sign)]
    changed = [rule for place, rule in enumerate(rules) if place not in old]
    changed.insert(old[0] if old else max(lines, default=-1) + 1, said)
    return changed


def _agree(one: str, other: str) -> bool:
    return one[0] == other[0] or "==" in (one, other)


def _line_in(rule: Any) -> Line | None:
    """The line that a rule draws, however it is written."""
    if isinstance(rule, str):
        return line_of(rule)
    if not (isinstance(rule, Mapping) and len(rule) == 1):
        return None
    ((name, options),) = rule.items()
    if name not in ("certified", "threshold"):
        return None
    said = options if isinstance(options, Mapping) else {"score": options}
    return Line(str(said.get("score")), str(said.get("comparison", ">=")), str(said.get("value", "certified")))
