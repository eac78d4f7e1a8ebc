"""What `rsft doctor` prints for people."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from rsft.cli.console import console, inert

_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


def print_examined(said: dict[str, Any]) -> None:
    """A line for each check, under what it is about, with what to do; then how many problems there are."""
    about = None
    for check in said["checks"]:
        if check["about"] != about:
            about = check["about"]
            console.print(Text(f"\n{about}" if check is not said["checks"][0] else about, style="bold"))
        table = Table.grid(padding=(0, 1))
        table.add_column(width=7)
        table.add_column(width=21)
        table.add_column()
        table.add_row(Text(check["state"], style=_COLOURS[check["state"]]), inert(check["name"]), _told(check))
        console.print(table)
    counts = said["counts"]
    notes = f", {counts['note']} note{'s' * (counts['note'] != 1)}" if counts["note"] else ""
    problems = f"{counts['problem']} problem{'s' * (counts['problem'] != 1)}" if counts["problem"] else "No problem"
    console.print(f"\n{problems}{notes}.")


def _told(check: dict[str, Any]) -> Text:
    text = inert(check["found"])
    if check["advice"]:
        text.append_text(inert(f"\n→ {check['advice']}"))
    return text
