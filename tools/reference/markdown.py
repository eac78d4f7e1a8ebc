"""Pieces of Markdown."""

import re
from collections.abc import Iterable, Sequence

# Code is left as it is; what means something to Markdown or HTML elsewhere gets a backslash, or a name.
_CODE = re.compile(r"(`[^`]+`)")
_MARKS = re.compile(r"([\\*\[\]|]|\b_|_\b|^#)")
_FENCE = "```"


def prose(text: str) -> str:
    """Text that shows all of its characters, but for `code`."""
    parts = _CODE.split(text.replace(_FENCE, "&#96;&#96;&#96;"))
    return "".join(part if part.startswith("`") else _plain(part) for part in parts)


def _plain(text: str) -> str:
    return _MARKS.sub(r"\\\1", text).replace("<", "&lt;")


def code(text: str) -> str:
    """Text in code, on one line."""
    text = " ".join(text.split())
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text whose lines are wrapped anywhere."""
    return [prose(" ".join(one.split())) for one in re.split(r"\n\s*\n", text.strip())]


def fence(language: str, text: str) -> str:
    return f"{_FENCE}{language}\n{text.rstrip()}\n{_FENCE}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bullet(name: str, kind: str, meaning: str) -> str:
    """One key or option: its name (Markdown), what may stand there (Markdown), and what it means (plain)."""
    return f"- {name}" + (f" ({kind})" if kind else "") + (f": {prose(meaning)}" if meaning else "")


def anchor(heading: str) -> str:
    """Where a link to this heading leads, by the rule that the site's builder and code hosts share."""
    return re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")


def page(*blocks: str) -> str:
    """Blocks, parted by empty lines."""
    return "\n\n".join(block for block in blocks if block) + "\n"
