"""What an actor does on its node, without Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from rsft.errors import StoreError
from rsft.store import shipping
from rsft.store.shipping import Manifest, manifest_of, parts
from rsft.training.launch import OWN_DISK, STARTER
from rsft.training.nodes import node as node_module
from rsft.training.nodes.node import Node


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RSFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    (made / "checkpoint-3").mkdir(parents=True)
    (made / "job.json").write_text("{}")
    (made / "checkpoint-3" / "model.safetensors").write_bytes(b"weights")
    return made


def bring(node: Node, folder: Path, policy: str | None = None) -> Path:
    manifest = manifest_of(folder)
    where, owed = node.expect(manifest, policy)
    assert owed
    for part in parts(folder, manifest):
        node.take(part)
    node.took()
    return Path(where)


def test_a_job_comes_into_a_folder_that_goes_with_the_actor(job: Path, cache: Path) -> None:
    node = Node("far")
    there = bring(node, job)
    assert there.is_relative_to(cache)
    assert manifest_of(there) == manifest_of(job)
    node.end()
    assert not there.exists()
    assert repr(node) == "training on far"


def test_what_came_damaged_is_refused(job: Path) -> None:
    node = Node("far")
    node.expect(manifest_of(job), None)
    with pytest.raises(StoreError, match="came damaged"):
        node.take(b"?" * manifest_of(job).size)
    node.end()


def test_the_folder_of_an_actor_that_was_killed_is_removed_by_the_next(job: Path, cache: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from rsft.training.nodes.node import Node; node = Node('x');"
        " print(node._own_home(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        home = Path(other.stdout.readline().strip())
        beside = Node("beside")
        bring(beside, job)
        assert home.is_dir(), "its actor lives"
        other.kill()
    after = Node("after")
    bring(after, job)
    assert not home.exists()
    assert len([one for one in (cache / "trainings").iterdir() if one.is_dir()]) == 2
    beside.end()
    after.end()


def test_a_policy_comes_once_and_stays(job: Path) -> None:
    first, second = Node("first"), Node("second")
    there = bring(first, job, "ab12")
    first.end()
    assert second.expect(manifest_of(job), "ab12") == (str(there), False)


def test_a_node_keeps_few_policies(job: Path, cache: Path) -> None:
    node = Node("far")
    for number in range(shipping.KEPT + 2):
        there = bring(node, job, f"{number}")
        os.utime(there, (number, number))
    kept = {entry.name.partition("-")[0] for entry in (cache / "policies").iterdir()}
    assert len(kept) == shipping.KEPT
    assert f"{shipping.KEPT + 1}" in kept


def test_it_is_told_what_it_sees_and_which_model_it_has(tmp_path: Path, job: Path, tiny_folder: Path) -> None:
    node = Node("far")
    assert node.sees({str(job / "job.json"): 2})
    assert not node.sees({str(job / "job.json"): 3})
    assert not node.sees({str(job / "job.json"): 2, str(tmp_path / "none"): 0})
    assert node.model("what it is called", str(tiny_folder)) == (str(tiny_folder), "")
    assert node.model(str(tiny_folder), str(tmp_path / "none")) == (str(tiny_folder), "")
    path, reason = node.model(str(tmp_path / "none"), str(tmp_path / "none"))
    assert not path
    assert "does not exist" in reason


def send(node: Node, name: str) -> tuple[list[str], bytes]:
    manifest, *rest = node.send(name)
    assert isinstance(manifest, Manifest)
    return [file.name for file in manifest.files], b"".join(part for part in rest if isinstance(part, bytes))


def test_what_was_made_is_sent_even_if_it_goes_meanwhile(job: Path) -> None:
    node = Node("far")
    there = bring(node, job)
    sent = node.send("checkpoint-3")
    next(sent)
    (there / "checkpoint-3").rename(there / "gone")
    assert list(sent) == [b"weights"]
    with pytest.raises(FileNotFoundError):
        send(node, "checkpoint-3")
    (there / "log.json").write_text("[]")
    assert send(node, "log.json") == (["log.json"], b"[]")
    home = there.parent
    assert sorted(entry.name for entry in home.iterdir()) == ["job", "lock"], "nothing stays aside"
    node.end()


def test_what_it_launched_it_hears_and_ends(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import os, subprocess, sys, time\n"
        f"print(sorted(key for key in os.environ if key in ({OWN_DISK!r}, 'TOLD')), sys.argv[1:], flush=True)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print('child', flush=True)\n"
        "time.sleep(600)\n"
    )

    def start(options: Any, **environment: str) -> Any:
        return subprocess.Popen(
            [sys.executable, "-c", program, *options[2:]],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment, STARTER: str(os.getpid())},
        )

    monkeypatch.setattr(node_module, "start", start)
    node = Node("far")
    there = bring(node, job)
    node.begin("num_processes: 1\n", ["--more"], {"TOLD": "1"})
    lines: list[str] = []
    while "child\n" not in lines:
        heard = node.heard()
        assert heard.code is None
        lines += heard.lines
    assert lines[0] == f"['{OWN_DISK}', 'TOLD'] ['--more']\n"
    assert heard.made == ("checkpoint-3",)
    while len(launched := node._launched()) < 2:  # one that was only just begun shows no environment yet
        time.sleep(0.05)
    node.end()
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in launched)
    assert node.heard().code == -15
    assert not there.exists()
