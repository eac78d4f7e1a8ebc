"""Where stop strings end a text."""

from __future__ import annotations

from collections.abc import Sequence


def stop_place(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop string begins."""
    return min((place for place in map(text.find, stops) if place >= 0), default=None)


def settled(text: str, stops: Sequence[str]) -> int:
    """How much of the text can't be the beginning of a stop string, before which the reply would end."""
    held = (size for stop in stops for size in range(1, min(len(stop), len(text) + 1)) if text.endswith(stop[:size]))
    return len(text) - max(held, default=0)
