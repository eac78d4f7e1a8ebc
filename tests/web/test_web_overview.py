"""A run's page says what the summary says, and follows the run while it goes on."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from web_runs import write_recipe

from rsft.loop import run
from rsft.store import RunFolder
from rsft.web.chart import chart
from rsft.web.overview import overview

Browser = Callable[[Path], TestClient]


def test_the_numbers_are_the_summarys(runs: Path) -> None:
    summary = json.loads((runs / "bot/summary.json").read_text())
    said = overview(runs / "bot")
    assert said["state"] == "finished"
    assert said["base"] == summary["base"]["heldout_acceptance"]
    assert said["gains"] == {"base": summary["gain_over_base"], "control": summary["gain_over_control"]}
    for mine, other in zip(said["rounds"], summary["iterations"], strict=True):
        assert mine["acceptance"] == other["heldout_acceptance"]
        assert mine["others"]["control"] == other["control"]["heldout_acceptance"]
        assert [mine[key] for key in ("candidates", "accepted")] == [other[key] for key in ("candidates", "accepted")]
        (times,) = (one for one in said["times"] if one["arm"] == "policy" and one["iteration"] == other["iteration"])
        assert (times["tokens"], times["seconds"]) == (other["tokens"], other["seconds"])
    assert said["alarms"] == summary["alarms"]


def test_the_page_shows_them_and_asks_for_no_more_once_the_run_is_finished(runs: Path, browser: Browser) -> None:
    text = browser(runs).get("/run?run=bot").text
    assert "Gain over control" in text
    assert "its numbers say nothing of a model" in text, "it used fakes"
    assert len(re.findall(r"<circle", text)) == len(re.findall(r'<rect x="\d+\.\d+"', text)) == 2
    assert "hx-trigger" not in text


def test_a_run_that_goes_on_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: Browser) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe("loop.iterations=1")
    run(recipe)
    folder = Path("runs").absolute()
    with RunFolder.open(folder / "bot", write=True) as writing:
        writing.reopen()
        writing.begin_stage(2, "policy", "sample")
        part = browser(folder).get("/run/now?run=bot").text
        assert 'hx-trigger="every 2s"' in part
        assert 'hx-swap-oob="true"' in part, "the tabs come with it: there may be more of them"
        assert "<html" not in part
        assert re.search(r"<b>sample</b> of iteration 2", part)
        assert "0 candidates of this iteration" in part
        assert "at work" in browser(folder).get("/").text
    interrupted = browser(folder).get("/run/now?run=bot").text
    assert 'hx-trigger="every 10s"' in interrupted, "somebody may go on with it"
    assert "rsft resume" in interrupted


def test_alarms_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: Browser) -> None:
    monkeypatch.chdir(tmp_path)
    summary = run(write_recipe("loop.iterations=1", "guards.few_accepted.least=99"))
    (alarm,) = (one for one in summary["alarms"] if one["guard"] == "few_accepted")
    page = browser(Path("runs").absolute()).get("/run?run=bot").text
    assert "few_accepted: warn" in page
    assert html.escape(alarm["why"]) in page


@pytest.mark.parametrize("name", ["nobody", "../bot", "/etc", ""])
def test_a_run_that_is_not_there_is_said(name: str, runs: Path, browser: Browser) -> None:
    said = browser(runs).get("/run", params={"run": name})
    assert said.status_code == 400
    assert "To the list of runs" in said.text
    assert browser(runs).get("/run").status_code == 400


def test_the_chart_holds_what_was_measured() -> None:
    said = {"value": 0.5, "low": 0.25, "high": 1.0, "n": 8}
    drawn = chart(said, {"policy": [said, None], "control": [None, None]})
    assert [curve["arm"] for curve in drawn["curves"]] == ["policy"]
    (point,) = drawn["curves"][0]["points"]
    assert point["high"] < point["value"] == drawn["base"]["value"] < point["low"]
    assert chart(None, {"policy": [None]})["empty"]
