"""What stays of a conversation: a prompt for another run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsft.errors import PromptError
from rsft.types import Message


def keep_as_prompt(file: Path, turns: Sequence[Message], fields: Mapping[str, Any]) -> None:
    """Append a row of `messages` and fields to a JSONL file, as `prompts.train` reads it; the file is made where there
    is none. Raises PromptError where that can't be.

    The turns end with the user's, which awaits a reply: a reply behind it would be read as the row's reference.
    """
    if file.suffix != ".jsonl":
        raise PromptError(f"A prompt is kept in a file of JSON lines, whose name ends in .jsonl; found '{file}'.")
    row = {"messages": [{"role": turn.role, "content": turn.content} for turn in turns], **fields}
    try:
        with file.open("a+b") as stream:
            whole = stream.seek(0, 2) == 0 or _ends_a_line(stream)
            stream.write((b"" if whole else b"\n") + json.dumps(row, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        raise PromptError(f"The prompt can't be kept in {file}: {error.strerror or error}.") from None


def field_of(said: str) -> tuple[str, Any]:
    """A prompt's field from NAME=VALUE: the value is JSON, or else a text. Raises PromptError."""
    name, equals, value = said.partition("=")
    if not equals or not name.strip():
        raise PromptError(f"A field is given as NAME=VALUE, such as facts='{{\"price\": 12}}'; found {said!r}.")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value


def _ends_a_line(stream: Any) -> bool:
    stream.seek(-1, 2)
    ends: bool = stream.read(1) == b"\n"
    return ends
