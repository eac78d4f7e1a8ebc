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
    """The rules with this line in place of those of its score that point the same way; where there is none, behind the
    last line, before the rules that choose among what all lines leave."""
    way = _way(said)
    places = [place for place, rule in enumerate(rules) if _way(rule) == way]
    lines = [place for place, rule in enumerate(rules) if _way(rule)]
    changed = [rule for place, rule in enumerate(rules) if place not in places]
    changed.insert(places[0] if places else max(lines, default=-1) + 1, said)
    return changed


def _way(rule: Any) -> tuple[str, str] | None:
    """The score of a line and where what it accepts lies: '<', '=' or '>'. None for other rules."""
    if isinstance(rule, Mapping) and isinstance(certified := rule.get("certified"), Mapping):
        return str(certified.get("score")), ">"
    line = line_of(rule) if isinstance(rule, str) else None
    return (line.score, line.sign[0]) if line else None
