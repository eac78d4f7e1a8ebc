"""A run by fakes, where each tracker keeps what it is told, and how to read that back."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rsft
from questions import write_questions
from rsft.tracking import teller, track

RECIPE = """
model: none
engine:
  type: scripted
  replies: ["Good: {prompt}", "Good and well: {prompt}", "Bad: {prompt}", "Bad", "Good"]
  lessons: ["Good: {prompt}", "Good again: {prompt}", "Bad again"]
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 6, max_tokens: 40}
scorers:
  polite: {type: format, pattern: "Good.*"}
  long: {type: length, min_words: 2}
selection: [polite >= 1, long >= 1, no_duplicates, {cap: 2}]
training: {type: "null"}
evaluation: {samples: 2}
guards: {plateau: off}
loop: {iterations: 2}
"""
STAND_IN = Path(__file__).parent / "stand_in"
IMPORTS = {"tensorboard", "wandb", "mlflow", "trackio"}

Told = dict[tuple[str, int], list[float]]
"""The values that a tracker has of a number at a place."""


@pytest.fixture
def at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe, where all that trackers keep is kept."""
    monkeypatch.chdir(tmp_path)
    Path("bot.yaml").write_text(RECIPE)
    write_questions(train=12, heldout=10)
    environment = {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "MLFLOW_TRACKING_URI": f"file://{tmp_path}/mlruns",
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "TRACKIO_DIR": f"{tmp_path}/trackio",
        "FAKE_TRACKIO": f"{tmp_path}/trackio.jsonl",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(teller, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(track, "LAST_SECONDS", 300.0)  # on a machine that has much else to do
    return tmp_path


@pytest.fixture(autouse=True)
def trackio_is_there(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The real one if it is installed, else the fake."""
    if importlib.util.find_spec("trackio") is None:
        monkeypatch.syspath_prepend(str(STAND_IN))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(STAND_IN), os.environ.get("PYTHONPATH", "")]))
    yield
    if getattr(sys.modules.get("trackio"), "FAKE", False):
        del sys.modules["trackio"]


def recipe_for(tracker: str, *overrides: str) -> rsft.Recipe:
    return rsft.load_recipe("bot.yaml", f"tracking=[{tracker}]", *overrides)


def in_another_process(program: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own. Trackers look at the run folder all the time."""
    begin = "from rsft.tracking import teller, track; teller._LOOK_SECONDS, track.LAST_SECONDS = 0.05, 300\n"
    return subprocess.run(
        [sys.executable, "-c", begin + program, *words],
        # Not wandb's own process, which a test in this one may have started.
        env={name: said for name, said in os.environ.items() if name != "WANDB_SERVICE"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def told(tracker: str, run: Path) -> Told:
    """What the tracker has of the run, read back by the library's own reader."""
    return {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow, "trackio": _trackio}[tracker](run)


def _tensorboard(run: Path) -> Told:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run / "tracking/tensorboard"
    assert len(list(folder.iterdir())) == 1, "an earlier sitting's file is gone"
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    found: Told = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            found.setdefault((tag, event.step), []).append(event.value)
    return found


def wandb_records(run: Path) -> list[Any]:
    """What was kept offline. wandb's own process writes it, a little after it was told of the end."""
    from wandb.proto.wandb_internal_pb2 import Record

    until = time.monotonic() + 60
    while True:
        (file,) = (run / "tracking/wandb").glob("offline-run-*/*.wandb")
        found = [Record.FromString(data) for data in _leveldb_records(file.read_bytes())]
        if (found and found[-1].HasField("exit")) or time.monotonic() > until:
            return found
        time.sleep(0.1)


def _leveldb_records(data: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format, in blocks of 32 KiB; the first 7 bytes are wandb's own."""
    place, begun = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        begun += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield begun
            begun = b""


def _wandb(run: Path) -> Told:
    rows: dict[int, dict[str, Any]] = {}
    for record in wandb_records(run):
        if record.HasField("history"):
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            assert record.history.step.num not in rows, "a step comes once"
            rows[record.history.step.num] = {key: value for key, value in row.items() if not key.startswith("_")}
    return _by_axis(rows)


def _mlflow(run: Path) -> Told:
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("rsft")
    assert experiment is not None
    (one,) = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{run.name}'")
    found: Told = {}
    for name in one.data.metrics:
        for metric in client.get_metric_history(one.info.run_id, name):
            found.setdefault((name, metric.step), []).append(metric.value)
    return found


def _trackio(run: Path) -> Told:
    import trackio

    id = json.loads((run / "tracking/trackio.json").read_text())["id"]
    name = f"{run.name}-{id[:6]}"
    rows: dict[int, dict[str, Any]] = {}
    if getattr(trackio, "FAKE", False):
        logged = [row["metrics"] | {"step": row["step"]} for row in trackio.rows() if row["run"] == name]
    else:
        from trackio.sqlite_storage import SQLiteStorage

        logged = SQLiteStorage.get_logs("rsft", name)
    for row in logged:
        assert row["step"] not in rows, "a step comes once"
        rows[row["step"]] = {key: value for key, value in row.items() if key not in ("step", "timestamp")}
    return _by_axis(rows)


def _by_axis(rows: dict[int, dict[str, Any]]) -> Told:
    """Rows that say themselves where on which axis they stand."""
    found: Told = {}
    assert sorted(rows) == list(range(len(rows))), "no step is missing"
    for row in rows.values():
        axis = "train_step" if "train_step" in row else "iteration"  # wandb says the other one, too
        for key, value in row.items():
            if key not in ("iteration", "train_step"):
                found.setdefault((key, row[axis]), []).append(value)
    return found
