"""What the docs quote of rsft's messages is what rsft says."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from documents import DOCS, ROOT

# Said by others.
FOREIGN = {"torch.OutOfMemoryError"}


@cache
def said() -> str:
    """All texts of the code, one a line; a placeholder is one character."""
    texts = []
    for file in (ROOT / "src/rsft").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(_part(part) for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(" ".join(text.split()) for text in texts)


def _part(part: ast.expr) -> str:
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "…"


def quoted(page: str) -> list[str]:
    """The quotations in first cells of tables under a heading that speaks of what is said."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = []
    for table in re.findall(r"^\| (?:it says|message)[^\n]*\n(?:\|.*\n)+", text, flags=re.M):
        for row in table.splitlines()[2:]:
            found += re.findall(r"`([^`]+)`", row.split(" | ")[0])
    return [one for one in found if one not in FOREIGN]


@pytest.mark.parametrize(("page", "least"), [("troubleshooting.md", 35), ("thresholds.md", 4)])
def test_each_message_that_a_page_quotes_is_in_the_code(page: str, least: int) -> None:
    messages = quoted(page)
    assert len(messages) >= least
    parts = [part.strip(" :,.") for message in messages for part in message.split("…")]
    assert [words for words in parts if words not in said()] == []
