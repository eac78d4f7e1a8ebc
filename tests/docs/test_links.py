"""Whatever a document leads to is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from documents import DOCS, DOCUMENTS, PAGES, anchors, links, name_of, of_type


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_within_the_repository_leads_somewhere(document: Path) -> None:
    for link in links(document):
        named, _, anchor = link.partition("#")
        target = (document.parent / named).resolve() if named else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_leads_to_what_the_site_holds(page: Path) -> None:
    for link in links(page):
        target = (page.parent / link.partition("#")[0]).resolve()
        assert target.is_relative_to(DOCS), f"the site has no {link}: name the file in `code`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_picture_says_in_words_what_it_shows(document: Path) -> None:
    assert all(picture.content.strip() for picture in of_type(document, "image"))


def test_no_picture_is_left_over() -> None:
    named = {
        (page.parent / str(picture.attrs["src"])).resolve() for page in PAGES for picture in of_type(page, "image")
    }
    assert named >= {file for file in (DOCS / "images").rglob("*") if file.is_file()}
