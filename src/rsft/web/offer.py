"""What the page Chat offers before anything is loaded, and what is wished for of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from starlette.datastructures import QueryParams

from rsft.config import Recipe
from rsft.errors import PromptError
from rsft.prompts.framing import Framing
from rsft.saved import saved_recipe
from rsft.store import BASE, RunFolder
from rsft.talking import BEST, Wish, field_of, offered

_EXAMPLE = 2000
"""Characters of a held-out prompt's field that are offered as an example."""


def offer(run: Path) -> dict[str, Any]:
    """Who of a run can be talked to, and what that takes. No model is loaded for it."""
    recipe = saved_recipe(run)
    said = offered(run, recipe)
    chosen = {said.best, BASE}
    return {
        "speakers": [
            {
                "name": one.speaker.name,
                "title": one.title,
                "bytes": one.bytes,
                "missing": one.missing,
                "best": one.speaker.name == said.best,
                "chosen": one.speaker.name in chosen and not one.missing,
            }
            for one in said.speakers
        ],
        "model": said.model,
        "engine": said.engine,
        "local": said.needs_files,
        "bytes": said.bytes,
        "memory": said.memory,
        "free": psutil.virtual_memory().available,
        "writer": said.writer,
        "fields": _fields(run, recipe),
        "law": recipe.sampling.law(),
    }


def _fields(run: Path, recipe: Recipe) -> dict[str, str]:
    """The fields that the recipe's template reads, with what a prompt of the run holds there as an example."""
    wanted = Framing(recipe.prompts.template, recipe.prompts.system).fields
    if not wanted:
        return {}
    with RunFolder.open(run, write=False) as folder:
        ids = [ids[0] for split in ("heldout", "train") if (ids := folder.prompt_ids(split))]
        found = [one for split in ("heldout", "train") for one in folder.load_prompts(split, set(ids[:1]))]
    held = found[0].fields if found else {}
    shown = {name: typed(held.get(name)) for name in wanted}
    return {name: text if len(text) <= _EXAMPLE else "" for name, text in shown.items()}


def wish_of(said: QueryParams) -> Wish:
    """What a form wishes for. Raises a UserError for what can't be."""
    wish = Wish(
        speakers=said.getlist("who") or (BEST,),
        seed=_number(said, "seed", int) or 0,
        system=said.get("system", "").strip() or None,
        fields=fields_of(said),
        plain=bool(said.get("plain")),
        here=bool(said.get("here")),
        temperature=_number(said, "temperature", float),
    )
    if (wish.temperature or 0) < 0 or wish.seed < 0:
        raise PromptError("The temperature and the seed are numbers from 0 on.")
    return replace(wish, max_tokens=_number(said, "max_tokens", int) or None)


def fields_of(said: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a prompt that a form gives, each JSON or a text. Those left empty are not there."""
    given = [(name.removeprefix("field."), text) for name, text in said.items() if name.startswith("field.")]
    return dict(field_of(f"{name}={text}") for name, text in given if text.strip())


def typed(value: Any) -> str:
    """A field as somebody would type it; None is nothing."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _number(said: Mapping[str, str], name: str, kind: Callable[[str], Any]) -> Any:
    text = said.get(name, "").strip()
    try:
        return kind(text) if text else None
    except ValueError:
        raise PromptError(f"{name.replace('_', ' ')}: expected a number, found {text!r}.") from None
