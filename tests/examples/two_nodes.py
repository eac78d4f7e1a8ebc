"""A run that is told when to go on, and what the tests of several clusters' recipes need to start it."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

import rsft
from questions import write_questions
from rsft.loop import run
from rsft.store import RunFolder

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples/cluster"

RECIPE = """
model: none
engine: {type: scripted, replies: ["Good: {prompt}", "Bad: {prompt}"], lessons: ["Lesson: {prompt}", "Bad: {prompt}"]}
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 6}
scorers: {good: mine.py:good}
selection: [good >= 1]
training: {type: "null"}
evaluation: {samples: 0}
guards: {plateau: off}
loop: {iterations: 2, control: none}
"""
# It stands still where the first iteration is done and its policy is looked at, until it may go on.
SCORER = """
import time
from pathlib import Path

def good(replies):
    if any(reply.text.startswith("Lesson") for reply in replies):
        Path("reached").touch()
        while not Path("go").exists():
            time.sleep(0.05)
    return [0.0 if "Bad" in reply.text else 1.0 for reply in replies]
"""


def write_recipe() -> None:
    """`bot.yaml` with all that it names, in the working folder."""
    write_questions(train=6, heldout=3)
    Path("mine.py").write_text(SCORER)
    Path("bot.yaml").write_text(RECIPE)


def undisturbed() -> object:
    """What comes of the recipe in this process, without a cluster."""
    Path("go").touch()
    run(rsft.load_recipe("bot.yaml", "run=runs/alone"))
    return outcome(Path("runs/alone"))


def outcome(folder: Path) -> object:
    """All candidates and decisions of a run."""
    with RunFolder.open(folder, write=False) as opened:
        candidates = {one.key: one for one in opened.candidates()}
        return candidates, opened.decisions("policy")


@contextmanager
def machine() -> Iterator[dict[str, str]]:
    """The environment of processes that belong together, with this interpreter's commands first. Whatever is left of
    them in the end is killed. Ray's sockets want a short path."""
    with tempfile.TemporaryDirectory(prefix="n", ignore_cleanup_errors=True) as folder:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SKYPILOT", "RAY"))},
            "PATH": os.pathsep.join([folder, str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT / "src"),
            "OMP_NUM_THREADS": "1",
            "TMPDIR": folder,
            "RAY_TMPDIR": folder,
            "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(100 << 20),
            "RAY_gcs_rpc_server_reconnect_timeout_s": "3",
        }
        try:
            yield environment
        finally:
            for process in processes_of(environment):
                process.kill()


def processes_of(environment: dict[str, str]) -> list[psutil.Process]:
    """Those that were started in it, and still run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == environment["TMPDIR"] and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def stand_in(environment: dict[str, str], name: str, script: str) -> None:
    """A command of this name, for those in the environment."""
    file = Path(environment["TMPDIR"]) / name
    file.write_text(f"#!/bin/bash\n{script}")
    file.chmod(0o755)


def wait_for(what: Callable[[], bool], seconds: float = 300) -> None:
    """Until it is so. A test that waits for so long has failed."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)
