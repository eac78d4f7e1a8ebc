"""HTML, as far as these tests read it."""

from __future__ import annotations

from functools import cache
from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """The tags of a page: each with its attributes, and whether it stands in the article; the text of styles and
    scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str], bool]] = []
        self.styles: list[str] = []
        self.scripts: list[str] = []
        self._inside = False
        self._last = ""
        self.feed(text)

    @property
    def ids(self) -> set[str]:
        return {attributes["id"] for _, attributes, _ in self.tags if "id" in attributes}

    def count(self, *names: str) -> int:
        """How many such tags the article has."""
        return sum(name in names and inside for name, _, inside in self.tags)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self._inside |= tag == "article"
        self.tags.append((tag, attributes, self._inside))
        self._last = tag
        if "style" in attributes:
            self.styles.append(attributes["style"])

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag != "article"
        self._last = ""

    def handle_data(self, data: str) -> None:
        if self._last == "style":
            self.styles.append(data)
        if self._last == "script":
            self.scripts.append(data)


@cache
def read(file: Path) -> Page:
    return Page(file.read_text(encoding="utf-8"))
