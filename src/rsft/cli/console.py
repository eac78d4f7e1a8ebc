"""Where the commands print for people, and what is the same in all that they print."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from rsft.wording import printable

console = Console(highlight=False)


def say(text: str, style: str = "") -> None:
    """A paragraph, wrapped to the terminal; whatever it quotes is inert."""
    console.print(inert(text), style=style)


def say_unbroken(text: str, style: str = "") -> None:
    """The same, but never broken, so that it can be copied."""
    console.print(inert(text), style=style, soft_wrap=True)


def inert(text: str) -> Text:
    """Text of a user's or a model's, with control characters spelled out, so that it can do nothing to a terminal."""
    return Text(printable(text))


@contextmanager
def aside(*, on: bool = True) -> Iterator[None]:
    """Print to standard error meanwhile, where standard output is for one document (--json)."""
    console.stderr = on
    try:
        yield
    finally:
        console.stderr = False


def program() -> str:
    """What to type for rsft here: it need not be on the path."""
    called = sys.argv[0]
    return "rsft" if shutil.which("rsft") or Path(called).name != "rsft" else called


def from_here(path: str) -> str:
    """A path as one would type it here."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
