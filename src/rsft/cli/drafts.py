"""What `rsft init` found in the data, and what a recipe will make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from rsft.cli.console import console, inert, say
from rsft.starting import Data, Draft, Reading
from rsft.types import Prompt
from rsft.wording import shortened

_ROWS_SHOWN = 3
_CHARACTERS_SHOWN = 600
_FEW_HELDOUT = 30


def _notes(said: Draft) -> list[str]:
    """What one should mind of the data."""
    looked = said.looked
    notes = []
    if looked.duplicates:
        notes.append(f"{looked.duplicates} rows repeat the conversation of another.")
    if said.shared:
        notes.append(f"{said.shared} held-out conversations are also trained on: gains on them are no gains.")
    if len(said.heldout) < _FEW_HELDOUT:
        notes.append(f"Only {len(said.heldout)} held out: few to measure by; intervals will be wide.")
    others = [language for language in looked.languages if language != "en"]
    if others and "embedding_relevance" in said.text:
        notes.append(
            f"There is text in other languages than English ({', '.join(others[:5])}), which the default model of "
            "`relevant` knows little of: name another under scorers."
        )
    return notes


def print_columns(data: Data, reading: Reading) -> None:
    """The file's columns, what they hold, and what they are read as."""
    read_as = {old: new for new, old in reading.columns.items()}
    table = Table.grid(padding=(0, 2))
    for column in data.columns.values():
        what = " or ".join(sorted(column.holds)) or "nothing"
        table.add_row(
            inert(f"  {column.name}"),
            f"{column.filled} of {len(data.rows)} rows",
            f"{what}, as JSON" if column.folded else what,
            inert(f"→ {read_as[column.name]}" if column.name in read_as else ""),
        )
    console.print(table)
    for line in reading.told():
        say(f"{line[0].upper()}{line[1:]}.")


def print_draft(said: Draft) -> None:
    """What was found in the data, and three rows as the model will read them."""
    looked = said.looked
    languages = ", ".join(f"{name} {count}" for name, count in list(looked.languages.items())[:4])
    console.print()
    say(
        f"{len(said.train)} conversations to train on, {len(said.heldout)} held out; {looked.turns:.1f} turns on "
        f"average; the longest has about {looked.longest_tokens_about} tokens at most"
        + (f"; languages: {languages}" if languages else "")
        + "."
    )
    for line in said.reading.told():
        say(f"Read so: {line}.")
    for note in _notes(said):
        say(f"Mind: {note}", "yellow")
    for prompt in said.train[:_ROWS_SHOWN]:
        console.print()
        console.rule(inert(f"as the model reads it: {prompt.id}"), style="dim")
        for turn in prompt.messages:
            console.print(inert(f"{turn.role}: "), style="dim", end="")
            say(shortened(turn.content, _CHARACTERS_SHOWN))


def as_document(said: Draft, written: Sequence[Path], plan: Mapping[str, Any], following: list[str]) -> dict[str, Any]:
    """All of it as one JSON document."""
    looked = said.looked
    return {
        "recipe": str(said.wish.file),
        "written": [str(path) for path in written],
        "kind": said.wish.kind.name,
        "columns": dict(said.reading.columns),
        "data": {
            "train": len(said.train),
            "heldout": len(said.heldout),
            "turns": round(looked.turns, 2),
            "longest_characters": looked.longest_characters,
            "duplicates": looked.duplicates,
            "shared_with_heldout": said.shared,
            "languages": dict(looked.languages),
            "fields": {name: found.usable for name, found in looked.fields.items() if found.usable},
        },
        "notes": _notes(said),
        "shown": [_shown(prompt) for prompt in said.train[:_ROWS_SHOWN]],
        "check": plan,
        "next": following,
    }


def _shown(prompt: Prompt) -> dict[str, Any]:
    turns = [{"role": turn.role, "content": turn.content} for turn in prompt.messages]
    return {"id": prompt.id, "messages": turns}
