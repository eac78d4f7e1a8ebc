"""Templates, and how numbers read on a page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rsft.comparison import called
from rsft.selection.selection import FINISHED
from rsft.wording import share, size

_TEMPLATES = Path(__file__).parent / "templates"
_HALF_A_DAY = 12 * 3600
_SHOWN = 1000
"""Characters of a text in a list."""


def percent(said: Mapping[str, Any] | None) -> str:
    """A share with its interval: 95.8% [91, 98]."""
    return "–" if said is None else share(said)


def gain(said: Mapping[str, Any] | None) -> str:
    """A difference of shares with its interval, in points: +76.7 [+69.2, +84.2]."""
    if said is None:
        return "–"
    value, low, high = (100 * said[name] for name in ("value", "low", "high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def change(said: Mapping[str, Any]) -> str:
    """A difference of scores with its interval: +0.27 [+0.23, +0.31]."""
    return f"{said['value']:+.2g} [{said['low']:+.2g}, {said['high']:+.2g}]"


def score(value: float | None) -> str:
    """A score, or a mean of some; none where there is none."""
    return "–" if value is None else f"{value:.4g}"


def whole(count: float) -> str:
    """A number of things: 12,345."""
    return f"{count:,.0f}"


def seconds(said: float | None) -> str:
    """A time in the unit that suits it."""
    if said is None:
        return "–"
    if said < 1:
        return f"{1000 * said:.0f} ms"
    if said < 120:
        return f"{said:.0f} s" if said >= 10 else f"{said:.1f} s"
    return f"{said / 60:.0f} min" if said < _HALF_A_DAY else f"{said / 3600:.0f} h"


def moment(said: str) -> str:
    """A time as a person writes it: 27 Nov 2026, 06:40."""
    return datetime.fromisoformat(said).strftime("%d %b %Y, %H:%M").lstrip("0")


def which_iteration(number: int) -> str:
    """Which iteration, in words: 0 is the base."""
    return f"iteration {number}" if number else "base"


def model(said: str | list[str]) -> str:
    """The first name by which a recipe calls its model."""
    return said if isinstance(said, str) else said[0]


def beginning(text: str) -> str:
    """What a list shows of a text: more than fits its lines, and never a megabyte."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def typed(text: str) -> str:
    """A word of a command as one types it: a folder may be named anything."""
    return shlex.quote(text)


def verdict(decided: Mapping[str, Any]) -> str:
    """A decision in some words, the rule's name among them."""
    if decided["accepted"] is None:
        return "undecided"
    if decided["accepted"]:
        return "✓ accepted"
    return "✕ not finished" if decided["rule"] == FINISHED else f"✕ rejected by {decided['rule']}"


def tone(decided: Mapping[str, Any]) -> str:
    """The class of a decision's mark."""
    return {True: "good", False: "bad", None: ""}[decided["accepted"]]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,  # whatever a user or a model wrote stays text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    of_numbers = (percent, gain, change, score, whole, seconds, size, moment)
    of_words = (which_iteration, called, model, beginning, typed, verdict, tone)
    environment.filters.update({filter.__name__: filter for filter in (*of_numbers, *of_words)})
    return environment


_ENVIRONMENT = _environment()


def page(template: str, **said: Any) -> str:
    """A page, or a part of one, with everything in it escaped."""
    return _ENVIRONMENT.get_template(template).render(**said)
