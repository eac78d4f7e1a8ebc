"""What a source's name stands for: a file of a known format, or a dataset of the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rsft.errors import PromptError, nearest
from rsft.prompts.rows import printable

FORMATS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz", ".parquet")
HUB = "hub"

_HUB_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?::(?P<config>[\w.-]+))?(?:#(?P<split>[^#]+))?", re.ASCII)
_ACCEPTED = f"Prompt files are {', '.join(FORMATS)}; a dataset is named org/name, org/name:config or org/name#split."


@dataclass(frozen=True, slots=True)
class Source:
    """A file (`path` with a `format` of `FORMATS`), or a dataset (`path` is its hub name, and `format` is `HUB`)."""

    label: str
    path: str
    format: str
    config: str | None = None
    split: str = "train"


def find_sources(said: str | Sequence[str], split: str) -> list[Source]:
    """The sources that were named, none of them read yet. Raises PromptError for one that is not there."""
    names = [said] if isinstance(said, str) else list(said)
    if not names:
        raise PromptError(f"No prompt file is named. {_ACCEPTED}")
    return [_find(name, split) for name in names]


def _find(name: str, split: str) -> Source:
    path = Path(name)
    if not name.strip() or "\0" in name:
        raise PromptError(f"'{printable(name)}' names no prompt file. {_ACCEPTED}")
    try:
        is_file, exists, in_folder = path.is_file(), path.exists(), path.parent.is_dir()
    except OSError as error:
        raise PromptError(f"The prompt file {printable(name)} can't be read: {error.strerror}.") from None
    lower = name.lower()
    if is_file:
        for ending in FORMATS:
            if lower.endswith(ending):
                return Source(name, name, ending)
        raise PromptError(f"The prompt file {printable(name)} has an unknown ending. {_ACCEPTED}")
    # `data/train.jsonl` has the shape of a hub name too: an ending or a folder tells a file that is missing.
    hub = _HUB_NAME.fullmatch(name)
    if hub and not lower.endswith(FORMATS) and (hub["config"] or hub["split"] or not in_folder):
        chosen = hub["split"] or split
        label = name if hub["split"] else f"{name}#{chosen}"
        return Source(label, hub["name"], HUB, hub["config"], chosen)
    if exists:
        raise PromptError(f"{printable(name)} is not a file; name the files themselves. {_ACCEPTED}")
    beside = [entry.name for entry in path.parent.iterdir() if entry.is_file()] if in_folder else []
    where = "" if in_folder else f" (nor a folder {printable(str(path.parent))})"
    hint = printable(nearest(path.name, beside))
    raise PromptError(f"There is no prompt file {printable(name)}{where}.{hint} {_ACCEPTED}")
