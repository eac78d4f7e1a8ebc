"""Regular expressions that users write."""

from __future__ import annotations

import regex

MATCHING_SECONDS = 1.0
"""Some patterns take exponential time on some texts: a text that keeps one busy for so long is given up."""


def checked(pattern: str, *, one_group: bool = False) -> str:
    """The pattern. Raises ValueError for what is none, or has not the one group that holds an answer."""
    try:
        groups = regex.compile(pattern).groups
    except regex.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    if one_group and groups != 1:
        raise ValueError(f"needs exactly one group, around the answer, and has {groups}")
    return pattern


def last_group(pattern: str, text: str) -> str | None:
    """What the one group of a pattern holds, where it holds something for the last time. Raises TimeoutError."""
    found = None
    for match in regex.finditer(pattern, text, timeout=MATCHING_SECONDS):
        found = match[1] if match[1] is not None else found
    return found
