"""Numbers as people read them, and foreign text so that it does nothing and takes little room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def printable(text: str) -> str:
    """A user's or a model's text with control and direction marks spelled out, so that it can do nothing to whatever
    shows it."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, most: int) -> str:
    """The first `most` characters, with how many there are in all where that is more."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text):,} characters in all)"


def share(said: Mapping[str, Any]) -> str:
    """A share with its interval: 95.8% [91, 98]."""
    return f"{said['value']:.1%} [{100 * said['low']:.0f}, {100 * said['high']:.0f}]"


def share_gain(said: Mapping[str, Any]) -> str:
    """A difference of shares with its interval."""
    return f"{said['value']:+.1%} [{100 * said['low']:+.1f}, {100 * said['high']:+.1f}]"


def score_gain(said: Mapping[str, Any]) -> str:
    """A difference of scores with its interval."""
    return f"{said['value']:+.3f} [{said['low']:+.3f}, {said['high']:+.3f}]"


def size(count: int) -> str:
    """Bytes in the unit that suits them."""
    amount = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError
