"""Labels given by keys are in the ledger, and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from web_runs import write_recipe

from questions import write_questions
from rsft.labelling import Frame, login
from rsft.loop import run
from rsft.saved import saved_recipe
from rsft.store import RunFolder
from rsft.types import CandidateKey, Label
from windows import Site, Windows, press

# The fourth is taken back, and said again otherwise.
PRESSED = ["g", "b", "s", "y", "u", "n", "g", "g", "b", "s", "y"]
MEANT = ["good", "bad", "skipped", "bad", "good", "good", "bad", "skipped", "good"]
LOSSES = {"good": 0.0, "bad": 1.0, "skipped": None}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, serve: Callable[[Path], Site], chromium: object) -> Site:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("labelled"))
        recipe = write_recipe()
        write_questions(train=30)
        run(recipe)
        return serve(Path("runs").absolute())


def test_ten_replies_are_labelled_by_keys_and_one_is_taken_back(site: Site, windows: Windows) -> None:
    draw = drawn(site.runs / "bot")
    assert len(draw) > len(MEANT) + 1
    page = windows.open(site, "/label?run=bot&iteration=2&scorer=words")
    for key in PRESSED:
        say(page, key)
    page.get_by_role("button", name="Good").click()
    expect(page.locator(".progress")).to_contain_text(f"{len(MEANT) + 1} of ")
    with RunFolder.open(site.runs / "bot", write=False) as folder:
        kept, said = folder.labels(), folder.ledger.labels()
    expected = [label(key, word) for key, word in zip(draw, [*MEANT, "good"], strict=False)]
    assert kept == expected
    assert [one.word for one in said] == ["good", "bad", "skipped", "good", "undone", *MEANT[3:], "good"]


def test_what_is_typed_into_a_field_labels_nothing(site: Site, windows: Windows) -> None:
    page = windows.open(site, "/label?run=bot&iteration=1&scorer=words")
    page.get_by_label("Which replies").focus()
    press(page, "g")
    page.get_by_role("button", name="Keys").focus()
    press(page, "?")
    expect(page.get_by_role("dialog")).to_be_visible()
    press(page, "b")
    press(page, "Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    press(page, "Control+b")
    say(page, "s")
    with RunFolder.open(site.runs / "bot", write=False) as folder:
        assert [one.word for one in folder.labels(iteration=1)] == ["skipped"]


def test_a_key_that_comes_with_the_next_reply_is_heard(site: Site, windows: Windows) -> None:
    """A form that is shown before htmx listens to it would be sent by the browser itself, and lead to a page without
    keys."""
    with RunFolder.open(site.runs / "bot", write=False) as folder:
        before = len(folder.labels(iteration=1))
    page = windows.open(site, "/label?run=bot&iteration=1&scorer=words")
    page.evaluate(
        """() => new MutationObserver((_, observer) => {
            observer.disconnect();
            document.querySelector("[value=bad]").click();
        }).observe(document.querySelector("main"), {childList: true})"""
    )
    press(page, "g")
    expect(page.locator(".progress")).to_contain_text(f"{before + 2} of ")
    expect(page.locator("h1")).to_contain_text("Label")
    say(page, "u")


def say(page: Page, key: str) -> None:
    """Press it, and wait until the page has another number of labels: a key that is pressed meanwhile counts for
    nothing."""
    status = page.get_by_role("status")
    before = status.inner_text()
    press(page, key)
    expect(status).not_to_have_text(before)


def drawn(run: Path) -> list[CandidateKey]:
    """The replies that are asked about, in their order."""
    with RunFolder.open(run, write=False) as folder:
        frame = Frame(folder, saved_recipe(run), "words", 2)
        return [frame.key(int(place)) for place in frame.places]


def label(key: CandidateKey, word: str) -> Label:
    return Label(key, login(), "calibration", word, LOSSES[word])  # type: ignore[arg-type]
