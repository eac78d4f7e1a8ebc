"""A draft on disk: whole, over nothing that is there, and read again as it was meant."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from rsft.config import load_recipe
from rsft.errors import RecipeError
from rsft.starting.data import Data
from rsft.starting.draft import Draft


def refuse_name(file: Path) -> None:
    """Raise RecipeError for a name that no recipe has: a data file's, say."""
    if file.suffix not in (".yaml", ".yml"):
        raise RecipeError(
            f"{file} is no recipe's name, which ends in .yaml. The data goes with --data, as in "
            f"rsft init bot.yaml --data {file}."
        )


def refuse_taken(paths: Iterable[Path], data: Data | None = None, *, force: bool = False) -> None:
    """Raise RecipeError where a path can't be written: it is a folder, the data itself, or a file that is there already
    and may not be overwritten (`force`)."""
    sources = (*data.sources, *data.heldout_sources) if data else ()
    own = {Path(source).resolve() for source in sources if Path(source).is_file()}
    for path in paths:
        if path.resolve() in own:
            raise RecipeError(f"{path} is the data itself, and would be overwritten: give the recipe another name.")
        if path.is_dir():
            raise RecipeError(f"{path} is a folder: give the recipe a file's name, such as {path / 'bot.yaml'}.")
        if path.exists() and not force:
            raise RecipeError(f"{path} is there already. Give the recipe another name, or overwrite it with --force.")


def write(said: Draft, data: Data, *, force: bool = False) -> list[Path]:
    """Write the draft's files, the recipe last. Raises RecipeError as `refuse_taken`, before anything is written."""
    refuse_taken(said.files, data, force=force)
    for path, text in said.files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, text)
        except OSError as error:
            raise RecipeError(f"{path} can't be written: {error.strerror or error}. Name another folder.") from None
    return list(said.files)


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(text, encoding="utf-8", newline="\n")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_again(said: Draft) -> None:
    """Raise RecipeError where the written recipe reads other rows than the draft's: a file of the same name in the
    working folder comes before one beside the recipe."""
    recipe = load_recipe(said.wish.file)
    written = {path.resolve() for path in list(said.files)[:-1]}
    named = [*recipe.prompts.train, *(recipe.prompts.heldout or [])]
    if written and {Path(source).resolve() for source in named} != written:
        raise RecipeError(
            f"The recipe {said.wish.file} was written, but read from here it names other files of the same names: "
            f"{', '.join(named)}. Give the recipe another name, or write it here."
        )
