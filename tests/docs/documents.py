"""What is written for readers: every README, and every page of the site, whatever folder it is in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
READMES = sorted(ROOT.glob("README*.md"))
PAGES = sorted(DOCS.rglob("*.md"))
DOCUMENTS = [*READMES, *PAGES]


class Block(NamedTuple):
    """A block of code: in a fence of this language, or indented (None). `line` is its first line's number, from 1."""

    document: Path
    language: str | None
    text: str
    line: int

    def __str__(self) -> str:
        return f"{name_of(self.document)}:{self.line}"


def name_of(document: Path) -> str:
    """As it stands in a test's name."""
    return str(document.relative_to(ROOT))


@cache
def tokens(document: Path) -> list[Token]:
    """The document as Markdown, its inline parts beside its blocks."""
    parsed = MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8"))
    return [one for token in parsed for one in (token, *(token.children or ()))]


def blocks(*languages: str | None, among: list[Path] = DOCUMENTS) -> list[Block]:
    """All blocks in one of these languages, of documents in order."""
    return [block for document in among for block in _blocks(document) if block.language in languages]


@cache
def _blocks(document: Path) -> list[Block]:
    found = []
    for token in tokens(document):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            fenced = token.type == "fence"
            language = token.info.strip() if fenced else None
            found.append(Block(document, language, token.content, token.map[0] + 1 + fenced))
    return found


def of_type(document: Path, kind: str) -> Iterator[Token]:
    return (token for token in tokens(document) if token.type == kind)


def links(document: Path) -> list[str]:
    """Where its links lead within this repository, pictures among them."""
    led = [str(token.attrs["href"]) for token in of_type(document, "link_open")]
    led += [str(token.attrs["src"]) for token in of_type(document, "image")]
    return [unquote(link) for link in led if not re.match(r"[a-z][a-z0-9+.-]*:", link)]


@cache
def anchors(document: Path) -> set[str]:
    """The anchors of its headings, as code hosts and the site make them. Of equal headings the first alone has one."""
    parsed = MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8"))
    headings = [parsed[place + 1] for place, token in enumerate(parsed) if token.type == "heading_open"]
    said = ["".join(part.content for part in heading.children or ()) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in said}


class _Settings(yaml.SafeLoader):
    """YAML whose tags of Python's are of no concern here."""


_Settings.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)


def navigation() -> list[str]:
    """The files of the site's navigation, in order."""
    said = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Settings)

    def files(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for one in entry.values() if isinstance(entry, dict) else entry:
                yield from files(one)

    return list(files(said["nav"]))
