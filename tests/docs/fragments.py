"""A recipe from what a document shows of one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from documents import ROOT
from jinja2 import Environment, nodes

from rsft.config.load import BUNDLED

_OWN_FILE = re.compile(r"([\w./-]+\.py):\w+")
# What rows of any kind of bot may hold.
_FIELDS = {
    "facts": {"day": "Monday", "price": "$20"},
    "reference": "It comes on Monday, for $20.",
    "answer": "20",
    "tests": ["assert answer() == 20"],
    "constraints": {"no_commas": True},
    "persona": "A friendly pirate.",
    "name": "Ada",
}


def is_whole(shown: Any) -> bool:
    """Whether a document shows a recipe that could be run, and not a fragment."""
    return {"model", "prompts"} <= shown.keys()


def over_the_demo(shown: dict[str, Any]) -> dict[str, Any]:
    """The demo recipe with a fragment instead of what it has there."""
    demo = yaml.safe_load((ROOT / "src/rsft/recipes/demo.yaml").read_text(encoding="utf-8"))
    return {**demo, **{key: _merged(demo.get(key), value) for key, value in shown.items()}}


def _merged(below: Any, above: Any) -> Any:
    """Mappings key by key; a plug-in, which says its own type, takes the place of another."""
    if not (isinstance(below, dict) and isinstance(above, dict)) or "type" in above:
        return above
    return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}


def provide(recipe: dict[str, Any], python: str) -> None:
    """Put what the recipe names into the working folder: rows, and the document's Python under the names of its own
    plug-ins, where no such file is in the repository."""
    for name in {found[1] for text in _texts(recipe) if (found := _OWN_FILE.fullmatch(text))}:
        file = Path(name)
        if not file.exists():
            assert not file.resolve().is_relative_to(ROOT), f"names {name}, which is not in the repository"
            assert python, f"names {name}, which is not in the repository, and shows no Python that could stand in it"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(python, encoding="utf-8")
    prompts = recipe["prompts"]
    for split in ("train", "heldout"):
        if split in prompts:
            prompts[split] = _rows(prompts[split], prompts.get("template"), split)
    anchor = recipe.get("training", {}).get("anchor")
    if anchor:
        anchor["rows"] = _rows(anchor["rows"], None, "anchor")


def variables(recipe: Any) -> Iterator[str]:
    """The environment variables that hold the keys of its servers."""
    if isinstance(recipe, dict):
        if isinstance(recipe.get("key_env"), str):
            yield recipe["key_env"]
        recipe = list(recipe.values())
    for one in recipe if isinstance(recipe, list) else ():
        yield from variables(one)


def _texts(said: Any) -> Iterator[str]:
    if isinstance(said, str):
        yield said
    for one in (*said.keys(), *said.values()) if isinstance(said, dict) else said if isinstance(said, list) else ():
        yield from _texts(one)


def _rows(sources: str | list[str], template: Any, split: str) -> list[str]:
    """The sources, with a file of a few rows for each that is a reader's own."""
    named = [sources] if isinstance(sources, str) else sources
    return [one if one.startswith(BUNDLED) or Path(one).is_file() else _file(template, split) for one in named]


def _file(template: Any, split: str) -> str:
    """Rows with all that the template asks for."""
    fields = dict(_FIELDS)
    for text in template.values() if isinstance(template, dict) else [template or ""]:
        names = {name.name for name in Environment().parse(text).find_all(nodes.Name)} - {"messages"}
        fields = dict.fromkeys(names, "something") | fields
    rows = [
        {"messages": [{"role": "user", "content": f"When does parcel {number} of {split} come?"}], **fields}
        for number in range(4)
    ]
    file = Path(f"{split}.rows.jsonl")
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)
