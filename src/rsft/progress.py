"""How a run tells whoever is watching. The story calls it; a surface decides what it looks like."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Hears of a run as it goes."""

    def begin(self, title: str, total: int, unit: str) -> None:
        """A stage of `total` steps begins (or goes on where it was interrupted)."""
        ...

    def advance(self, steps: int, tokens: int = 0) -> None:
        """So many more steps are done; `tokens` were sampled for them."""
        ...

    def end(self, note: str) -> None:
        """The stage is done; `note` says in one line what came of it."""
        ...

    def say(self, line: str) -> None:
        """One line that belongs to no stage."""
        ...


class Silent:
    """A reporter that says nothing."""

    def begin(self, title: str, total: int, unit: str) -> None: ...

    def advance(self, steps: int, tokens: int = 0) -> None: ...

    def end(self, note: str) -> None: ...

    def say(self, line: str) -> None: ...
