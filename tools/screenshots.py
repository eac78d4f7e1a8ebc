"""Make the documentation's pictures of the pages; with --all, each view in light and dark, on a desk and on a phone.

    python -m tools.screenshots runs/demo docs/images

needs Chromium and what the `dev` extra installs. The same run gives pictures of the same size; to have the same paths
in them, start it where the run was started.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WIDE, NARROW = (1280, 800), (360, 740)
Kind = tuple[tuple[int, int], Literal["light", "dark"]]
IN_DOCS: Sequence[Kind] = ((WIDE, "light"),)
ALL: Sequence[Kind] = ((WIDE, "light"), (WIDE, "dark"), (NARROW, "light"), (NARROW, "dark"))
# Text stays sharp where a page shows a picture smaller than it is.
SCALE = {WIDE: 1.5, NARROW: 2}
# With so many colours nothing looks different, and a picture is a third as large.
COLOURS = 128


def as_it_opens(page: Page) -> None:
    """Nothing has to be done first."""


def open_first(page: Page) -> None:
    """From the list to its first candidate."""
    page.locator("#row-1").click()
    expect(page.locator(".turn.this")).to_be_visible()


def move_a_line(page: Page) -> None:
    """The line through the scores that differ most is moved down by some steps."""
    scorers = page.locator(".scorer:has(:checked)").all()
    widest = max(scorers, key=lambda one: one.locator(".all:not([height='0'])").count())
    slider, number = widest.locator("[type=range]").first, widest.locator("[type=number]").first
    slider.focus()
    for _ in range(15):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#effect > pre")).to_contain_text(f" {number.input_value()}")


def talk(page: Page) -> None:
    """Load what is offered, ask for something, and have the replies scored."""
    asked = page.locator("#text")
    if not asked.is_visible():
        page.get_by_role("button", name="Load").click()
    expect(asked).to_be_visible(timeout=PATIENCE)
    if not page.locator(".exchange").count():
        asked.fill(TURN)
        asked.press("Enter")
        page.get_by_role("button", name="Score").click(timeout=PATIENCE)
    expect(page.locator(".judged").last).to_be_visible(timeout=PATIENCE)


@dataclass(frozen=True)
class View:
    """A picture: of which address, after doing what. `of` is what the address says beside the run."""

    name: str
    path: str
    of: dict[str, str]
    first: Callable[[Page], None] = as_it_opens


# Milliseconds: a model is loaded and answers, on whatever machine.
PATIENCE = 300_000
TURN = "Hello, I bent the gear hanger of my Wayfarer 3. Can you supply a new one?"
ACCEPTED = {"iteration": "1", "decision": "accepted"}
HELD_OUT = {"iteration": "1", "which": "held-out:policy"}
# A new view is one more line.
VIEWS = (
    View("runs", "/", {}),
    View("run", "/run", {}),
    View("candidates", "/candidates", ACCEPTED),
    View("candidate", "/candidates", ACCEPTED, open_first),
    View("heldout", "/candidates", HELD_OUT, open_first),
    View("thresholds", "/thresholds", {"iteration": "1"}, move_a_line),
    View("label", "/label", {"iteration": "1"}),
    View("pairs", "/pairs", {}),
    View("compare", "/compare", {}),
    View("chat", "/chat", {}, talk),
)


@contextlib.contextmanager
def served(runs: Path) -> Iterator[str]:
    """The address that opens the pages of a folder of runs."""
    command = [sys.executable, "-m", "rsft", "ui", str(runs), "--no-open", "--port", "0", "--json"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            yield json.loads("".join(iter(server.stdout.readline, "}\n")) + "}")["address"]
        finally:
            server.send_signal(signal.SIGINT)


def pictures(browser: Browser, opening: str, run: Path, out: Path, kinds: Sequence[Kind]) -> Iterator[Path]:
    """Each view in each kind of window."""
    base = opening.partition("/?")[0]
    for view in VIEWS:
        said = {"run": run.name, **view.of} if view.path != "/" else {}
        for page, name in windows(browser, view.name, kinds):
            page.goto(opening)
            page.wait_for_url(f"{base}/")
            page.goto(f"{base}{view.path}?{urlencode(said)}")
            view.first(page)
            yield keep(page, out / name)


def of_report(browser: Browser, report: Path, out: Path, kinds: Sequence[Kind]) -> Iterator[Path]:
    """The report's top."""
    for page, name in windows(browser, "report", kinds):
        page.goto(report.as_uri())
        yield keep(page, out / name)


def windows(browser: Browser, view: str, kinds: Sequence[Kind]) -> Iterator[tuple[Page, str]]:
    """A window of each kind, and the name of its picture."""
    for size, scheme in kinds:
        width, height = size
        context = browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=SCALE[size],
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        yield context.new_page(), f"{view}-{scheme}{'-narrow' if size == NARROW else ''}.png"
        context.close()


def keep(page: Page, file: Path) -> Path:
    """What the window shows, in few colours. Nothing has the focus: a blinking caret is not twice the same."""
    page.wait_for_load_state("networkidle")
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    shown = Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide"))).convert("RGB")
    shown.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run, e.g. runs/demo")
    parser.add_argument("out", type=Path, help="a folder for the pictures")
    parser.add_argument("--all", action="store_true", help="also dark, and as a phone shows them")
    asked = parser.parse_args()
    kinds = ALL if asked.all else IN_DOCS
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        sys.exit("Chromium is not there: `make chromium` installs it where apt-get can.")
    if not (asked.run / "ledger.sqlite").is_file():
        sys.exit(f"{asked.run} is no run folder.")
    asked.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as private,
        served(asked.run.parent) as opening,
        sync_playwright() as playwright,
    ):
        report = Path(private) / "report.html"
        subprocess.run(
            [sys.executable, "-m", "rsft", "report", str(asked.run), "-o", str(report)], check=True, capture_output=True
        )
        browser = playwright.chromium.launch(executable_path=program)
        for made in (
            pictures(browser, opening, asked.run, asked.out, kinds),
            of_report(browser, report, asked.out, kinds),
        ):
            for file in made:
                print(f"{file}  {file.stat().st_size / 1000:.0f} KB")
        browser.close()


if __name__ == "__main__":
    main()
