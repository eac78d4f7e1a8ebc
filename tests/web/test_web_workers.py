"""The workers of a run on a cluster: who they are, how fast, and what they logged, which is text from a safe place."""

from __future__ import annotations

import html
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from web_runs import EVIL

from rsft.cluster.roll import Roll
from rsft.errors import RunError
from rsft.store import RunFolder
from rsft.web.logs import LINES, logs_of
from rsft.web.overview import overview

Browser = Callable[[Path], TestClient]


@pytest.fixture
def folder(runs: Path, tmp_path: Path) -> Path:
    """A folder with a run of four workers and one more beside them, of whom two are gone."""
    shutil.copytree(runs / "bot", tmp_path / "runs/bot")
    servers = tmp_path / "runs/bot/servers"
    roll = Roll(servers)
    for number in range(1, 5):
        roll.joined(f"worker-{number}", f"node-{number % 2}", 100 + number)
        roll.came(f"worker-{number}", 5, 1000 * number)
        roll.logged(f"worker-{number}", {"worker.log": b"it began\n", "vllm/server.log": b"serving\n"})
        roll.entries[f"worker-{number}"].seconds = 10.0
    roll.left("worker-2", EVIL)
    roll.left("worker-5", "it could not be opened")
    roll.rest(overtaken=3)
    beside = Roll(servers / "writer-1")
    beside.joined("worker-1", "node-3", 9)
    beside.rest(0)
    return tmp_path / "runs"


def test_the_overview_shows_them(folder: Path, browser: Browser) -> None:
    said = overview(folder / "bot")["workers"]
    assert (said["all"], said["hosts"], said["lost"], said["overtaken"], said["at_work"]) == (6, 3, 2, 3, 0)
    text = browser(folder).get("/run?run=bot").text
    assert "6 on 3 hosts" in text
    assert "2 lost" in text
    assert "3 shares of work overtaken" in text
    assert html.escape(EVIL[:40]) in text
    assert "<svg onload" not in text
    assert 'href="/worker?run=bot&amp;worker=writer-1/worker-1"' in text


def test_a_run_without_workers_says_nothing_of_them(runs: Path, browser: Browser) -> None:
    assert overview(runs / "bot")["workers"] is None
    assert 'id="workers"' not in browser(runs).get("/run?run=bot").text


def test_those_at_work_come_first_with_the_longest_bar_for_the_quickest(folder: Path, browser: Browser) -> None:
    with RunFolder.open(folder / "bot", write=True) as writing:
        writing.reopen()
        said = overview(folder / "bot")["workers"]
        names = [one["name"] for one in said["shown"]]
        assert names == ["worker-1", "worker-3", "worker-4", "writer-1/worker-1", "worker-5", "worker-2"]
        assert said["shown"][2]["share"] == "100.0"
        text = browser(folder).get("/run/now?run=bot").text
        assert "4 at work" in text
        assert len(re.findall(r'<svg class="rate"', text)) == 4, "nobody else has given anything"


def test_those_that_are_let_go_for_training_are_shown_as_that(folder: Path, browser: Browser) -> None:
    roll = Roll(folder / "bot/servers/writer-2")
    roll.joined("worker-1", "node-9", 7)
    roll.rest(0)
    roll.dismissed()
    with RunFolder.open(folder / "bot", write=True) as writing:
        writing.reopen()
        said = overview(folder / "bot")["workers"]
        assert (said["at_work"], said["let_go"], said["lost"]) == (4, 1, 2)
        assert said["shown"][4]["name"] == "writer-2/worker-1", "behind those at work"
        assert "1 let go for training" in browser(folder).get("/run/now?run=bot").text
        page = browser(folder).get("/worker?run=bot&worker=writer-2/worker-1").text
        assert '<span class="mark ">let go for training</span>' in page


def test_of_many_some_are_shown(folder: Path, browser: Browser) -> None:
    roll = Roll(folder / "bot/servers/writer-2")
    for number in range(150):
        roll.joined(f"worker-{number}", "far", number)
    roll.rest(0)
    assert len(overview(folder / "bot")["workers"]["shown"]) == 100
    assert "56 more are in" in browser(folder).get("/run?run=bot").text


def test_a_log_is_shown_as_it_is(folder: Path, browser: Browser) -> None:
    file = folder / "bot/servers/worker-1/worker.log"
    file.write_text("".join(f"line {number}\n" for number in range(1000)) + f"{EVIL}\nslow\rquick\tdone\n")
    page = browser(folder).get("/worker?run=bot&worker=worker-1").text
    assert "on node-1, process 101" in page
    assert "vllm/server.log" in page
    assert "serving" in page
    assert html.escape(EVIL.replace("\x1b", "\\x1b")) in page.replace("&#39;", "&#x27;").replace("&#34;", "&quot;")
    assert "\x1b" not in page
    first, *_ = logs_of(folder / "bot", "worker-1")
    assert (first.name, first.whole, first.size) == ("worker.log", False, file.stat().st_size)
    lines = first.text.split("\n")
    assert len(lines) == LINES
    assert lines[0] == "line 802"
    assert lines[-1] == "quick   done"


def test_of_a_long_log_and_a_long_line_only_the_end_is_read(folder: Path) -> None:
    file = folder / "bot/servers/worker-1/worker.log"
    file.write_bytes(b"x" * 2**20 + b"\nlast \xff\n")
    log, *_ = logs_of(folder / "bot", "worker-1")
    assert log.text == "last \ufffd"
    file.write_bytes(b"x" * 2**20)
    log, *_ = logs_of(folder / "bot", "worker-1")
    assert len(log.text) == 2001
    file.write_bytes(b"")
    log, *_ = logs_of(folder / "bot", "worker-1")
    assert (log.text, log.whole) == ("", True)


def test_one_who_has_logged_nothing_says_so(folder: Path, browser: Browser) -> None:
    page = browser(folder).get("/worker?run=bot&worker=worker-5").text
    assert "Nothing of this worker’s is logged" in page
    assert "it could not be opened" in page


@pytest.mark.parametrize("name", ["", "..", "../../bot", "/etc", "worker-1/../..", "worker-1\0", "a\\b", "x" * 5000])
def test_a_name_that_leads_elsewhere_is_refused(name: str, folder: Path, browser: Browser) -> None:
    with pytest.raises(RunError, match="no worker"):
        logs_of(folder / "bot", name)
    assert browser(folder).get("/worker", params={"run": "bot", "worker": name}).status_code == 400


def test_a_folder_of_another_kind_is_no_worker(folder: Path, browser: Browser) -> None:
    assert browser(folder).get("/worker?run=bot&worker=writer-1").status_code == 400
    assert browser(folder).get("/worker?run=nobody&worker=worker-1").status_code == 400


def test_links_and_pipes_are_passed_over(folder: Path, browser: Browser) -> None:
    secret = folder.parent / "secret.log"
    secret.write_text("a secret")
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere/inner.log").write_text("a secret")
    worker = folder / "bot/servers/worker-1"
    (worker / "link.log").symlink_to(secret)
    (worker / "folder").symlink_to(folder.parent / "elsewhere")
    (worker / "loop.log").symlink_to(worker / "loop.log")
    (worker / "folder.log").mkdir()
    os.mkfifo(worker / "pipe.log")
    assert [log.name for log in logs_of(folder / "bot", "worker-1")] == ["worker.log", "vllm/server.log"]
    shutil.rmtree(folder / "bot/servers/worker-3")
    (folder / "bot/servers/worker-3").symlink_to(folder.parent / "elsewhere")
    said = browser(folder).get("/worker?run=bot&worker=worker-3")
    assert said.status_code == 400
    assert "a secret" not in said.text
    shutil.move(folder / "bot/servers", folder.parent / "servers")
    (folder / "bot/servers").symlink_to(folder.parent / "servers")
    with pytest.raises(RunError, match="no worker"):
        logs_of(folder / "bot", "worker-1")
