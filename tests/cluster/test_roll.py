"""The roll of workers: what it tells, over several starts of a run, and of a file that is not one."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import pytest

from rsft.cluster import roll as rolls
from rsft.cluster.roll import ROLL, Roll, last_number, read_roll
from rsft.cluster.rolls import read_rolls, worked_since


def worked(folder: Path, **rates: int) -> Roll:
    """A roll of workers who have each drawn ten candidates of so many tokens."""
    roll = Roll(folder)
    for worker, tokens in rates.items():
        name = worker.replace("_", "-")
        roll.joined(name, "far", 7)
        roll.came(name, 10, tokens)
    return roll


def test_it_tells_who_drew_what_and_who_is_gone_and_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    roll = worked(tmp_path / "writer-1", worker_1=30, worker_2=60)
    with caplog.at_level(logging.WARNING, "rsft"):
        roll.left("worker-2", "the node died")
        roll.left("worker-3", "it could not be opened")
    roll.rest(overtaken=2)
    said = read_rolls(tmp_path, at_work=True)
    assert [(one["name"], one["state"], one["candidates"], one["tokens"]) for one in said.workers] == [
        ("writer-1/worker-1", "at work", 10, 30),
        ("writer-1/worker-2", "gone", 10, 60),
        ("writer-1/worker-3", "gone", 0, 0),
    ]
    assert (said.lost, said.overtaken, said.hosts) == (2, 2, 1)
    assert said.workers[1]["gone"] == "the node died"
    assert caplog.messages == ["worker-2 on far is gone: the node died", "worker-3 is gone: it could not be opened"]
    assert [one["state"] for one in read_rolls(tmp_path).workers] == ["done", "gone", "gone"]


def test_those_that_are_let_go_are_not_at_work_until_they_come_back(tmp_path: Path) -> None:
    roll = worked(tmp_path, worker_1=30, worker_2=60, worker_3=90)
    roll.left("worker-3", "it died")
    roll.rest(0)
    roll.dismissed()

    def states(at_work: bool = True) -> list[str]:
        return [one["state"] for one in read_rolls(tmp_path, at_work=at_work).workers]

    assert states() == ["let go for training", "let go for training", "gone"]
    assert states(at_work=False) == ["done", "done", "gone"], "the run was killed meanwhile"
    roll.joined("worker-2", "elsewhere", 8)
    roll.rest(0)
    assert states() == ["let go for training", "at work", "gone"], "there is no room for the first yet"
    back = read_rolls(tmp_path).workers[1]
    assert (back["host"], back["pid"], back["candidates"]) == ("elsewhere", 8, 10)
    assert read_rolls(tmp_path).lost == 1


def test_the_rate_is_of_the_last_while_and_then_of_all_drawings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(rolls.time, "monotonic", lambda: now)
    roll = Roll(tmp_path)
    for start, tokens in ((1000.0, 500), (5000.0, 100)):  # a pause in between does not count
        now = start
        roll.joined("worker-1", "far", 7)
        now = start + 10
        roll.came("worker-1", 1, tokens)
        roll.write()
        (one,) = read_rolls(tmp_path, at_work=True).workers
        assert one["rate"] == tokens / 10
        roll.rest(0)
    (one,) = read_rolls(tmp_path, at_work=True).workers
    assert (one["seconds"], one["rate"]) == (20, 30)


def test_it_is_written_now_and_then_and_at_once_when_somebody_is_gone(tmp_path: Path) -> None:
    roll = worked(tmp_path, worker_1=30)
    roll.write()
    roll.came("worker-1", 5, 5)
    roll.write()
    assert read_rolls(tmp_path).workers[0]["candidates"] == 10
    roll.left("worker-1", "why not")
    roll.write()
    assert read_rolls(tmp_path).workers[0]["candidates"] == 15


def test_a_run_that_goes_on_keeps_those_who_came_before(tmp_path: Path) -> None:
    first = worked(tmp_path, worker_1=30, worker_9=40)
    first.left("worker-1", "it died")
    first.rest(3)
    assert last_number(tmp_path) == 9
    second = Roll(tmp_path)
    assert [one["state"] for one in read_rolls(tmp_path, at_work=True).workers] == ["gone", "done"], "not at work yet"
    second.joined("worker-10", "near", 8)
    second.joined("worker-1", "near", 8)  # one who is called like an earlier one is another one
    second.rest(1)
    said = read_rolls(tmp_path, at_work=True)
    assert [(one["start"], one["worker"], one["state"]) for one in said.workers] == [
        (1, "worker-1", "gone"),
        (1, "worker-9", "done"),
        (2, "worker-10", "at work"),
        (2, "worker-1", "at work"),
    ]
    assert (said.overtaken, said.lost) == (4, 1)


def test_what_a_stage_owes_to_whom_is_told_in_words(tmp_path: Path) -> None:
    assert worked_since(tmp_path, 0) == []
    roll = worked(tmp_path, worker_1=30, worker_2=40)
    roll.left("worker-2", "it died")
    roll.rest(0)
    assert worked_since(tmp_path, time.time() - 60) == ["by 2 workers", "1 worker lost"]
    assert worked_since(tmp_path, time.time() + 1) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"workers": 7}', b'{"workers": [{"worker": 1}]}', b'{"start": 1e999}', b"[" * 5000, b"\xff"],
)
def test_a_file_that_is_no_roll_tells_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / ROLL).write_bytes(content)
    assert read_rolls(tmp_path).workers == []
    assert last_number(tmp_path) == 0
    assert Roll(tmp_path).earlier == []


def test_a_link_to_a_roll_is_none(tmp_path: Path) -> None:
    worked(tmp_path / "other", worker_1=3).rest(0)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / ROLL).symlink_to(tmp_path / "other" / ROLL)
    assert json.loads((tmp_path / "here" / ROLL).read_text())["workers"]
    assert read_roll(tmp_path / "here" / ROLL).workers == []


def test_names_are_taken_up_however_workers_are_called(tmp_path: Path) -> None:
    worked(tmp_path, somebody=1, worker_2=1, worker_x=1).rest(0)
    assert last_number(tmp_path) == 2
