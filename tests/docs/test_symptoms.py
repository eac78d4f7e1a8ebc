"""The messages that pages explain are those that the program prints."""

from __future__ import annotations

import re
from functools import cache

import pytest
from documents import DOCS, ROOT

# Of a library's own.
OTHERS = {"torch.OutOfMemoryError"}


def messages(page: str) -> list[str]:
    """What stands in the first column as code: a message, with … for names and numbers."""
    rows = re.findall(r"^\| (`.+?`) \| ", (DOCS / page).read_text(encoding="utf-8"), flags=re.M)
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


@cache
def program() -> str:
    """All that the program may say, on one line: a text that its source breaks is put together again."""
    files = sorted(file for kind in ("*.py", "*.j2", "*.html") for file in (ROOT / "src/rsft").rglob(kind))
    joined = "".join(re.sub(r'"\s*\n\s*f?"', "", file.read_text(encoding="utf-8")) for file in files)
    return " ".join(joined.split())


@pytest.mark.parametrize("page", ["troubleshooting.md", "thresholds.md"])
def test_every_message_is_one_of_the_programs(page: str) -> None:
    said = [message for message in messages(page) if message not in OTHERS]
    assert said
    parts = [part.strip() for message in said for part in message.split("…")]
    assert [part for part in parts if part not in program()] == []
