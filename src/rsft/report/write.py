"""Write a run's report, and its cards, beside what they tell of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsft.report.cards import dataset_card, model_card
from rsft.report.contents import contents
from rsft.report.facts import Facts
from rsft.report.render import as_html, as_markdown
from rsft.store import files

REPLIES = 20
"""So many accepted and as many rejected replies are shown."""


def write_report(
    run: Path, output: Path | None = None, *, markdown: bool = False, cards: bool = False
) -> dict[str, Any]:
    """Write the report as one file, `RUN/report.html` or `.md` by default, and cards beside it if so asked.

    Returns where they are, and what the report says first. The run may be at work: nothing of it is touched. Raises a
    UserError for what is no run folder and where a file can't be written.
    """
    facts = Facts.read(run, REPLIES)
    document = contents(facts)
    file = output or run / ("report.md" if markdown else "report.html")
    _write(file, as_markdown(document) if markdown else as_html(document))
    written = {}
    if cards:
        for name, text in (("MODEL_CARD.md", model_card(facts)), ("DATASET_CARD.md", dataset_card(facts))):
            written[name] = str(file.parent / name)
            _write(file.parent / name, text)
    return {
        "run": str(run),
        "report": str(file),
        "cards": list(written.values()),
        "state": document.state,
        "story": list(document.story),
    }


def _write(file: Path, text: str) -> None:
    files.put(file, lambda aside: _put(aside, text))


def _put(aside: Path, text: str) -> None:
    # Half a character of a text (a lone surrogate) can't be written: it is spelled out.
    aside.write_bytes(text.encode("utf-8", "backslashreplace"))
