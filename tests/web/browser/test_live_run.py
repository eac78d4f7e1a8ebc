"""A run that another process is at work on, followed from its start to its end."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from web_runs import write_recipe

from windows import Site, Windows

# Its scorer waits for a word from the test: first before anything is scored, then before what a trained policy said is.
WAITING = """
import time
from pathlib import Path


def words(replies):
    learnt = any("again" in reply.text for reply in replies)
    while not (Path(__file__).parent / ("second" if learnt else "first")).exists():
        time.sleep(0.05)
    return [len(reply.text.split()) for reply in replies]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the recipe, and no run yet."""
    monkeypatch.chdir(tmp_path)
    write_recipe()
    Path("mine.py").write_text(WAITING)
    Path("runs").mkdir()
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Begins the run, which ends with the test at the latest."""
    running: list[subprocess.Popen[bytes]] = []

    def begin() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "rsft", "run", "scripted.yaml", "--set", "run=runs/bot"]
        running.append(subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()


def test_a_run_is_followed_from_its_start_to_its_end(
    folder: Path, serve: Callable[[Path], Site], windows: Windows, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    page = windows.open(serve(folder / "runs"))
    expect(page.get_by_text("There is no run in this folder yet.")).to_be_visible()
    mark(page)
    process = start()
    expect(page.locator("[data-label=State]")).to_have_text(f"at work, process {process.pid}")
    assert page.evaluate("window.stayed"), "the list noticed it by itself"
    page.get_by_role("link", name="bot").click()
    expect(page.locator(".doing")).to_contain_text("evaluate of iteration 0")
    expect(page.get_by_text("Nothing is measured yet")).to_be_visible()
    expect(page.get_by_role("link", name="Candidates")).to_be_hidden()
    mark(page)
    (folder / "first").touch()
    expect(page.locator(".doing")).to_contain_text("evaluate of iteration 1")
    first = page.get_by_role("row", name="iteration 1").first
    expect(first.locator("[data-label=Accepted]")).to_have_text(re.compile(r"^\d+ of 48$"))
    expect(page.locator(".state")).to_contain_text(f"at work, process {process.pid}")
    expect(page.get_by_role("link", name="Candidates")).to_be_visible()
    (folder / "second").touch()
    expect(page.locator(".state")).to_contain_text("finished")
    assert process.wait(60) == 0
    expect(page.locator(".doing")).to_be_hidden()
    expect(page.get_by_text("Gain over control")).to_be_visible()
    expect(page.locator(".curve.policy circle")).to_have_count(2)
    assert page.evaluate("window.stayed"), "the page came to this by itself"
    expect(page.locator("#now")).not_to_have_attribute("hx-get", "/run/now")
    page.get_by_role("link", name="iteration 2").click()
    expect(page.locator(".count")).to_have_text("policy: 1–25 of 48")


def test_a_run_that_dies_is_seen_to_be_interrupted_and_to_go_on(
    folder: Path, serve: Callable[[Path], Site], windows: Windows, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    page = windows.open(serve(folder / "runs"))
    process = start()
    page.get_by_role("link", name="bot").click()
    expect(page.locator(".state")).to_contain_text("at work")
    mark(page)
    process.kill()
    process.wait()
    expect(page.locator(".state")).to_contain_text("interrupted")
    expect(page.get_by_text("rsft resume")).to_be_visible()
    (folder / "first").touch()
    (folder / "second").touch()
    start()
    expect(page.locator(".state")).to_contain_text("finished")
    assert page.evaluate("window.stayed")


def mark(page: Page) -> None:
    """Leave something behind that is gone with the page."""
    page.evaluate("window.stayed = true")
