"""The site in a real browser, from a file server and from the disk: it is searched, and asks nobody else for anything.

(What scripts ask for can't be read from them: here all of it is seen.)
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from building import Built
from documents import DOCS, PAGES
from playwright.sync_api import Page, Route, expect

from windows import Windows, chromium, windows

__all__ = ["chromium", "windows"]


class Quiet(SimpleHTTPRequestHandler):
    """Any plain file server."""

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def server(site: Built) -> Iterator[str]:
    handler = partial(Quiet, directory=str(site.folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


@pytest.fixture(params=["served", "from the disk"])
def base(request: pytest.FixtureRequest, site: Built, server: str) -> str:
    return server if request.param == "served" else site.folder.as_uri()


def opened(windows: Windows, base: str, path: str, *, width: int = 1280) -> Page:
    """A page, in a window that gets nothing from any other host."""
    page = windows.blank(base, viewport={"width": width, "height": 800})

    def alone(route: Route) -> None:
        if route.request.url.startswith((base, "data:", "blob:")):
            route.continue_()
        else:
            route.abort()

    page.route("**/*", alone)
    page.goto(f"{base}/{path}")
    return page


def test_a_word_is_searched_and_a_hit_is_followed(windows: Windows, base: str) -> None:
    page = opened(windows, base, "index.html")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("combobox", name="Search").fill("certified")
    hit = page.get_by_role("option").filter(has_text=re.compile("certified")).first
    expect(hit).to_be_visible()
    title = hit.get_by_role("heading").inner_text()
    hit.click()
    expect(page).not_to_have_url(re.compile("index"))
    expect(page.locator("article").locator("h1, h2, h3").filter(has_text=title).first).to_be_visible()
    expect(page.locator("article")).to_contain_text("certified")


def test_every_page_is_readable_on_a_phone(windows: Windows, base: str) -> None:
    page = opened(windows, base, "index.html", width=360)
    for document in PAGES:
        page.goto(f"{base}/{Path(document.relative_to(DOCS)).with_suffix('.html')}")
        expect(page.locator("article h1")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), document
