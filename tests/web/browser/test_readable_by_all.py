"""Every page, light and dark, wide and narrow: axe-core finds nothing serious, and a phone need not scroll sideways."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from web_runs import write_recipe, write_workers

from rsft.labelling import Frame, Labelling, login
from rsft.loop import run
from rsft.store import RunFolder
from windows import Site, Windows, press, rsft

# A new view is one more line. `generator` and `sample` are those of a candidate of the first prompt.
PAGES = {
    "runs": "/",
    "run": "/run?run=bot",
    "run that was interrupted": "/run?run=halted",
    "a run's workers": "/run?run=many",
    "a worker's log": "/worker?run=many&worker=worker-1",
    "a worker without a log": "/worker?run=many&worker=worker-4",
    "candidates": "/candidates?run=bot&iteration=1",
    "no candidates that fit": "/candidates?run=bot&iteration=1&text=nowhere",
    "candidate": "/candidate?run=bot&iteration=1&id=train0&sample={sample}&generator={generator}",
    "thresholds": "/thresholds?run=bot&iteration=1",
    "label": "/label?run=bot&iteration=1",
    "held-out replies": "/candidates?run=bot&iteration=1&which=held-out:policy",
    "the control's candidates": "/candidates?run=bot&iteration=1&which=control",
    "chat, nothing loaded": "/chat?run=bot",
    "two iterations compared": "/compare?run=bot@0&run=bot@2",
    "two replies side by side": "/pairs?run=bot",
    "label, all done": "/label?run=bot&iteration=2&scorer=words",
    "something is wrong": "/run?run=nobody",
    "no such page": "/nowhere",
}
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, serve: Callable[[Path], Site], chromium: object) -> Site:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("readable"))
        recipe = write_recipe()
        run(recipe)
        run(write_recipe("run=runs/halted", "loop.iterations=1"))
        with RunFolder.open(Path("runs/halted"), write=True) as folder:
            folder.reopen()
        shutil.copytree("runs/halted", "runs/many")
        write_workers(Path("runs/many"))
        with RunFolder.open(Path("runs/bot"), write=True) as folder:
            labelling = Labelling(folder, Frame(folder, recipe, "words", 2), login(), "calibration")
            while labelling.next() is not None:
                labelling.say("good")
        return serve(Path("runs").absolute())


@pytest.fixture(scope="module")
def known(site: Site) -> dict[str, object]:
    """What an address needs to know of the run."""
    with RunFolder.open(site.runs / "bot", write=False) as folder:
        key = next(key for key in sorted(folder.decisions("policy", iteration=1)) if key.prompt_id == "train0")
    return {"generator": key.generator, "sample": key.sample_index}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read_by_all(
    name: str, scheme: str, site: Site, known: dict[str, object], windows: Windows
) -> None:
    page = windows.open(site, PAGES[name].format(**known), color_scheme=scheme, viewport=WIDE, reduced_motion="reduce")
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        expect(page.locator("h1")).to_be_visible()
        assert serious(page) == [], size
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_keys_can_be_read_by_all(scheme: str, site: Site, windows: Windows) -> None:
    page = windows.open(site, color_scheme=scheme, viewport=NARROW)
    press(page, "?")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert serious(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_can_be_read_by_all(scheme: str, site: Site, windows: Windows, tmp_path: Path) -> None:
    rsft("report", str(site.runs / "bot"), "-o", str(tmp_path / "report.html"), folder=tmp_path)
    page = windows.blank(color_scheme=scheme, viewport=WIDE)
    page.goto((tmp_path / "report.html").as_uri())
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        assert serious(page) == [], size
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_axe_is_there_to_find_something(windows: Windows) -> None:
    page = windows.blank()
    page.set_content("<!doctype html><title>x</title><img src='data:,'><p style='color: #ccc; background: #fff'>pale")
    assert any("image-alt" in one for one in serious(page))
    assert any("color-contrast" in one for one in serious(page))


def serious(page: Page) -> list[str]:
    """What axe-core finds of serious or critical violations, each with the elements. It is put in by the browser's
    driver, which the page's policy does not bind."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {node['html'][:120]} {node['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
