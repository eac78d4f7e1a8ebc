"""What a shell offers behind a command, at the Tab key: names that are there, and begin with what is typed."""

from __future__ import annotations

from collections.abc import Iterable
from glob import escape
from pathlib import Path


def recipes(incomplete: str) -> list[str]:
    """Shipped recipes, recipe files, and runs, which stand for their recipes."""
    from rsft.config.load import shipped_recipes

    files = (str(file) for file in Path().glob(f"{escape(incomplete)}*.y*ml")) if _is_relative(incomplete) else ()
    return _beginning(incomplete, [*shipped_recipes(), *files, *runs(incomplete)])


def runs(incomplete: str) -> list[str]:
    """Run folders: those of `runs`, and what begins so."""
    if not _is_relative(incomplete):
        return []
    found = (*Path().glob("runs/*/recipe.yaml"), *Path().glob(f"{escape(incomplete)}*/recipe.yaml"))
    return _beginning(incomplete, (str(file.parent) for file in found))


def scorers(incomplete: str) -> list[str]:
    """Scorers by their names, and `test`, which tests a recipe's."""
    from rsft.registry import SCORERS

    return _beginning(incomplete, ["test", *SCORERS])


def rules(incomplete: str) -> list[str]:
    """Rules by their names."""
    from rsft.registry import RULES

    return _beginning(incomplete, RULES)


def kinds(incomplete: str) -> list[str]:
    """Kinds of bots."""
    from rsft.starting import KINDS

    return _beginning(incomplete, KINDS)


def _is_relative(incomplete: str) -> bool:
    """Whether it can be looked for from here; the shell itself completes other paths."""
    return not incomplete.startswith(("/", "~"))


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})
