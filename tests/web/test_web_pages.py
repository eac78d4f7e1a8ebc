"""How numbers and decisions read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rsft.web import pages


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (pages.percent({"value": 0.958, "low": 0.91, "high": 0.98}), "95.8% [91, 98]"),
        (pages.percent(None), "–"),
        (pages.gain({"value": 0.767, "low": -0.01, "high": 0.842}), "+76.7 [-1.0, +84.2]"),
        (pages.gain(None), "–"),
        (pages.change({"value": 0.2713, "low": -0.02, "high": 0.5}), "+0.27 [-0.02, +0.5]"),
        (pages.score(0.123456), "0.1235"),
        (pages.score(0.0), "0"),
        (pages.score(None), "–"),
        (pages.whole(1234567), "1,234,567"),
        (pages.seconds(0.0071), "7 ms"),
        (pages.seconds(8.44), "8.4 s"),
        (pages.seconds(39.2), "39 s"),
        (pages.seconds(600), "10 min"),
        (pages.seconds(90_000), "25 h"),
        (pages.seconds(None), "–"),
        (pages.size(999), "999 bytes"),
        (pages.size(29_700_000), "29.7 MB"),
        (pages.size(29_700_000_000_000), "29700 GB"),
        (pages.moment("2026-11-07T06:40:01+00:00"), "7 Nov 2026, 06:40"),
        (pages.model(["hub/name", "package:name"]), "hub/name"),
        (pages.beginning("a" * 1000), "a" * 1000),
        (pages.beginning("a" * 1_000_000), "a" * 1000 + "…"),
        (pages.verdict({"accepted": False, "rule": "finished"}), "✕ not finished"),
        (pages.verdict({"accepted": False, "rule": "cap"}), "✕ rejected by cap"),
        (pages.verdict({"accepted": True, "rule": "accepted"}), "✓ accepted"),
        (pages.verdict({"accepted": None, "rule": ""}), "undecided"),
        (pages.tone({"accepted": None}), ""),
        (pages.typed("runs/bot"), "runs/bot"),
        (pages.typed("a run; reboot"), "'a run; reboot'"),
    ],
)
def test_in_words(said: str, expected: str) -> None:
    assert said == expected


def test_everything_in_a_template_is_escaped() -> None:
    assert "&lt;b&gt;" in pages.page("error_part.html", why="<b>", part=False)


def test_a_mistake_of_ours_is_a_page_too_and_is_told_in_the_terminal(
    runs: Path, browser: Callable[[Path], TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = browser(runs)

    def wrong(*_: object) -> None:
        raise ZeroDivisionError("<b>secret</b>")

    monkeypatch.setattr("rsft.web.routes.runs.overview", wrong)
    with pytest.raises(ZeroDivisionError):
        opened.get("/run?run=bot")
    quiet = TestClient(opened.app, base_url=str(opened.base_url), cookies=opened.cookies, raise_server_exceptions=False)
    said = quiet.get("/run?run=bot")
    assert said.status_code == 500
    assert "a mistake of rsft’s own" in said.text
    assert "secret" not in said.text
    assert "content-security-policy" in said.headers
