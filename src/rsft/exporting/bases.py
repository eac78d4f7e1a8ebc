"""By what name others load the base that an adapter stands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rsft.errors import RecipeError
from rsft.models.references import is_of_hub
from rsft.models.student import Student


@dataclass(frozen=True, slots=True)
class Base:
    """A base model by its name. `everywhere`: the name means the same on other machines. `note` says what to mind."""

    name: str | None
    everywhere: bool
    note: str = ""


def base_of(student: Student, said: str | None) -> Base:
    """The name that was `said`, or else that of the reference by which this machine found the model: a hub name, or
    the folder that the recipe names. A package's weights have none that transformers could load."""
    reference = student.folder.reference
    if said is not None:
        return Base(said, is_of_hub(said))
    if is_of_hub(reference):
        return Base(reference, everywhere=True)
    if not reference.startswith("package:"):
        folder = str(Path(reference).expanduser().resolve())
        return Base(folder, everywhere=False, note=f"The adapter stands on {folder}, a folder of this machine.")
    return Base(
        None, everywhere=False, note=f"The base is carried by a pip package ({reference}){_others(student.references)}."
    )


def _others(references: Sequence[str]) -> str:
    others = [one for one in references if is_of_hub(one)]
    return f", and what the hub has as {others[0]} need not have the same weights" if others else ""


def refuse_nameless(base: Base, reference: str) -> str:
    """The name, for an adapter. Raises RecipeError where there is none."""
    if base.name is None:
        raise RecipeError(
            f"An adapter names the base that it stands on, and '{reference}', which a pip package carries, has no name "
            "that transformers loads. Export the whole model (--model merged), or name a base with the same weights "
            "(--base ORG/NAME or a folder)."
        )
    return base.name
