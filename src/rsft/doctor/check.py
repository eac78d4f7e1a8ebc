"""What a look at one thing comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and what to do about it where that is not as it should be.

    A note says what is slower or can't be done; with a problem, what was asked for will not work.
    """

    about: str
    name: str
    state: State
    found: str
    advice: str = ""
