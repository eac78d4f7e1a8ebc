"""The list of runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from command import Command
from rsft.errors import RunError
from rsft.listing import runs_in
from rsft.web.serve import serve

Browser = Callable[[Path], TestClient]


def test_the_list_has_every_run_with_its_numbers(runs: Path, browser: Browser) -> None:
    said = browser(runs).get("/")
    assert 'href="/run?run=bot"' in said.text
    assert "finished" in said.text
    assert "2 of 2" in said.text


def test_an_empty_folder_says_what_to_do(tmp_path: Path, browser: Browser) -> None:
    said = browser(tmp_path).get("/")
    assert "rsft run demo" in said.text
    assert 'hx-trigger="every 5s"' in said.text, "a run that begins is listed"


def test_a_run_that_cant_be_read_says_why_and_its_name_is_inert(tmp_path: Path, browser: Browser) -> None:
    run = tmp_path / "<img src=x onerror=alert(1)>"
    run.mkdir()
    (run / "recipe.yaml").write_text("model: [<script>alert(1)</script>")
    (run / "ledger.sqlite").touch()
    said = browser(tmp_path).get("/").text
    assert "can’t be read" in said
    assert "<img" not in said
    assert "<script>" not in said


@pytest.mark.parametrize(
    ("file", "text"),
    [("summary.json", b"{"), ("summary.json", b"[1]"), ("recipe.yaml", b"- x"), ("recipe.yaml", b"\xff")],
)
def test_one_run_that_is_damaged_hides_no_other(
    file: str, text: bytes, runs: Path, tmp_path: Path, browser: Browser
) -> None:
    for name in ("bad", "bot"):
        shutil.copytree(runs / "bot", tmp_path / name)
    (tmp_path / "bad" / file).write_bytes(text)
    client = browser(tmp_path)
    said = client.get("/")
    assert said.status_code == 200
    assert "can’t be read" in said.text
    assert "2 of 2" in said.text
    one = client.get("/run?run=bad")
    assert one.status_code == 400
    assert file in one.text


def test_a_run_that_changes_while_it_is_listed_is_no_error(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(runs / "bot", tmp_path / "bot")
    gone = tmp_path / "bot" / "ledger.sqlite-wal"
    real = Path.glob

    def glob(self: Path, pattern: str) -> Iterator[Path]:
        """Of a run that removes its -wal before anybody looks at it."""
        return iter([gone]) if pattern == "*-wal" else iter(real(self, pattern))

    monkeypatch.setattr(Path, "glob", glob)
    assert [one["run"] for one in runs_in(tmp_path)] == [str(tmp_path / "bot")]


def test_what_a_link_leads_to_is_not_shown(runs: Path, tmp_path: Path, browser: Browser) -> None:
    (tmp_path / "linked").mkdir()
    (tmp_path / "whole").symlink_to(runs / "bot")
    for file in ("recipe.yaml", "ledger.sqlite", "summary.json"):
        (tmp_path / "linked" / file).symlink_to(runs / "bot" / file)
    said = browser(tmp_path).get("/").text
    assert "Runs are read from below" in said
    assert "2 of 2" not in said
    assert "whole" not in said


def test_what_is_not_there_is_said_as_a_page_or_a_part(tmp_path: Path, browser: Browser) -> None:
    client = browser(tmp_path)
    page, part = client.get("/nowhere"), client.get("/nowhere", headers={"HX-Request": "true"})
    assert page.status_code == part.status_code == 404
    assert "<html" in page.text
    assert "<html" not in part.text
    assert "no such page" in page.text
    assert client.get("/assets/../app.py").status_code == 404
    assert client.get("/assets/%2e%2e/app.py").status_code == 404


def test_what_cant_be_served_is_said(tmp_path: Path, cli: Command) -> None:
    said = cli("ui", str(tmp_path / "nowhere"))
    assert (said.code, "There is no folder" in said.err) == (2, True)
    with pytest.raises(RunError, match="Nothing can listen at"):
        serve(tmp_path, "192.0.2.1", 0, open_browser=False, tell=lambda served: None)
