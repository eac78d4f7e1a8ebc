"""The site is built without a warning, leads nowhere that is not there, and asks no other machine for anything."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from building import Built
from documents import DOCS, PAGES, name_of, of_type
from markup import read

# What a page needs to be shown, and what it asks when it is opened. (A link to elsewhere is asked when it is followed.)
ASKING = {
    "script": "src", "img": "src", "iframe": "src", "source": "src", "audio": "src", "video": "src", "embed": "src",
    "object": "data", "form": "action", "link": "href",
}  # fmt: skip
_OUTSIDE = re.compile(r"(?:url\(|@import)\s*['\"]?\s*(?:https?:)?//", flags=re.I)


def html_of(page: Path, site: Built) -> Path:
    return (site.folder / page.relative_to(DOCS)).with_suffix(".html")


def all_html(site: Built) -> list[Path]:
    return sorted(site.folder.rglob("*.html"))


def test_it_is_built_without_a_warning(site: Built) -> None:
    assert site.code == 0, site.said
    assert "No issues found" in site.said


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_shows_what_is_written(page: Path, site: Built) -> None:
    """The builder's Markdown is not quite that of code hosts: a list without an empty line before it is none to it."""
    built = read(html_of(page, site))
    for kind, tags in {
        "list_item_open": ("li",), "table_open": ("table",), "image": ("img",),
        "heading_open": ("h1", "h2", "h3", "h4", "h5", "h6"), "tr_open": ("tr",),
    }.items():  # fmt: skip
        assert built.count(*tags) == len(list(of_type(page, kind))), tags
    assert built.count("pre") == len([*of_type(page, "fence"), *of_type(page, "code_block")])


def test_every_link_of_the_site_leads_somewhere(site: Built) -> None:
    for file in all_html(site):
        for tag, attributes, _ in read(file).tags:
            link = attributes.get("href", attributes.get("src", ""))
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or tag == "base" or file.name == "404.html":
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert target.exists(), f"{file.name}: {link}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in read(target).ids, f"{file.name}: {link}"


def test_no_page_asks_another_host(site: Built) -> None:
    for file in all_html(site):
        page = read(file)
        for tag, attributes, _ in page.tags:
            asked = [
                attributes.get(ASKING.get(tag, ""), ""),
                attributes.get("srcset", ""),
                attributes.get("poster", ""),
            ]
            assert not [one for one in asked if urlsplit(one).netloc], f"{file.name}: <{tag}> {asked}"
            assert "mermaid" not in attributes.get("class", "").split(), "another host's script draws it"
        assert not [style for style in page.styles if _OUTSIDE.search(style)]
        assert not [script for script in page.scripts if "://" in script]


def test_no_style_asks_another_host(site: Built) -> None:
    styles = list(site.folder.rglob("*.css"))
    assert styles
    assert not [file for file in styles if _OUTSIDE.search(file.read_text(encoding="utf-8"))]
