"""The site's navigation holds every page, and nothing else."""

from __future__ import annotations

from documents import DOCS, PAGES, navigation


def test_every_page_is_in_the_navigation_once() -> None:
    there = [str(page.relative_to(DOCS)) for page in PAGES]
    assert sorted(navigation()) == sorted(there), "write each page into the nav of mkdocs.yml"


def test_it_begins_with_the_front_page() -> None:
    assert navigation()[0] == "index.md"
