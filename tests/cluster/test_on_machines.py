"""Runs on a Ray cluster of three machines: what they come to, what reaches the workers, and what goes wrong there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machines import Machines, actors, nobody_is_left
from test_cluster_engine import wanted

import rsft
from command import Command
from questions import write_questions
from rsft import failpoints
from rsft.cluster import rays
from rsft.cluster.hire import hire
from rsft.cluster.policies import Proof, Proofs
from rsft.cluster.rolls import read_rolls
from rsft.config.cluster import ClusterSection
from rsft.engines.scripted import ScriptedEngine
from rsft.errors import RecipeError, RunError, UserError
from rsft.machines import room
from rsft.store import RunFolder
from tiny_runs import RECIPE as TINY
from tiny_runs import SCORER

# Other tests' workers would be taken for those of these.
pytestmark = pytest.mark.alone

SCRIPTED = """
model: none
engine: {type: scripted, replies: ["one", "two", "three", "four", "five"], lessons: ["two", "four", "one"]}
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 6}
scorers:
  even: {type: format, pattern: "two|four"}
  slow: mine.py:slow
selection: [even >= 1, slow >= 1, {cap: 2}]
training: {type: "null"}
guards: {plateau: off}
loop: {iterations: 1}
"""
MINE = """
from rsft.engines import OwnEngine
from rsft.errors import RunError


def slow(replies):
    return [1.0 for reply in replies]


def mended(replies):
    raise RunError("the scorer has no licence here")


class Broken(OwnEngine):
    trained = ("adapter", "weights")

    def prepare(self, student):
        raise RunError("this machine has no licence")

    def replies(self, policy, requests):
        return []


class Breaks(OwnEngine):
    trained = ("adapter", "weights")

    def replies(self, policy, requests):
        raise RunError("the licence is over")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    Path("scripted.yaml").write_text(SCRIPTED)
    Path("mine.py").write_text(MINE)
    write_questions(train=12, heldout=4)
    yield tmp_path
    assert nobody_is_left()


def came_to(run: str) -> Any:
    with RunFolder.open(Path(run), write=False) as folder:
        replies = {one.key: (one.text, one.token_ids, one.finish_reason) for one in folder.candidates()}
        return replies, {arm: folder.decisions(arm) for arm in ("policy", "control")}


def on(three: Machines, **cluster: Any) -> str:
    return f"cluster={json.dumps({'ray': three.address, 'engine': {'workers': 2, 'cpus': 1}, **cluster})}"


def killed_at_draw(number: int, kill: Callable[[], None]) -> Callable[[str], None]:
    left = [number]

    def listener(name: str) -> None:
        if name == "sample.drawn":
            left[0] -= 1
            if left[0] == 0:
                kill()

    return listener


@pytest.mark.model
def test_the_service_recipe_comes_to_the_same_candidates_and_decisions(here: Path, three: Machines) -> None:
    small = ["prompts.train_limit=4", "prompts.heldout_limit=2", "loop={iterations: 1, control: none}"]
    small += [
        "sampling.candidates=3",
        "sampling.max_tokens=32",
        'training={type: "null"}',
        "selection=[relevant >= 0.2]",
    ]
    rsft.run(rsft.load_recipe("service", "run=alone", *small))
    rsft.run(
        rsft.load_recipe("service", "run=many", *small, on(three, scorers={"relevant": {"workers": 1, "cpus": 1}}))
    )
    assert came_to("alone") == came_to("many")
    workers = read_rolls(Path("many")).workers
    assert len(workers) == 2
    assert all(worker["candidates"] and worker["gone"] is None for worker in workers)


def test_a_new_policy_reaches_every_worker_where_no_disk_is_shared(
    here: Path, three: Machines, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine.py").write_text(SCORER)
    Path("tiny.yaml").write_text(TINY.format(model=tiny_folder, lora="{rank: 4}"))
    proven: list[tuple[str, str]] = []
    add = Proofs.add

    def listened(self: Proofs, worker: str, host: str, said: Proof) -> None:
        add(self, worker, host, said)
        proven.append((worker, said.policy))

    monkeypatch.setattr(Proofs, "add", listened)
    monkeypatch.setattr(rays.Path, "touch", lambda self: None)  # there is no file by which they could see this disk
    rsft.run(rsft.load_recipe("tiny.yaml", "run=alone"))
    rsft.run(rsft.load_recipe("tiny.yaml", "run=many", on(three)))
    assert came_to("alone")[0].keys() == came_to("many")[0].keys()
    policies = {policy for _, policy in proven}
    assert len(policies) == 2, "the base, and what was trained"
    assert len(proven) == len(set(proven)) == 4, "each worker was reached once by each"


def test_one_that_says_nothing_is_given_up_and_its_work_is_done_by_others(here: Path, three: Machines) -> None:
    rsft.run(rsft.load_recipe("scripted.yaml", "run=alone"))
    listener = killed_at_draw(5, lambda: os.kill(actors()[0], signal.SIGSTOP))
    with failpoints.listening(listener):
        rsft.run(rsft.load_recipe("scripted.yaml", "run=many", on(three, patience_seconds=8)))
    assert came_to("alone") == came_to("many")


def test_what_ends_an_engine_on_every_machine_is_said(here: Path, three: Machines) -> None:
    broken = ["engine=mine.py:Broken", "run=broken", on(three)]
    with pytest.raises(RunError, match="this machine has no licence"):
        rsft.run(rsft.load_recipe("scripted.yaml", *broken))
    with pytest.raises(RunError, match="the licence is over"):
        rsft.run(rsft.load_recipe("scripted.yaml", "engine=mine.py:Breaks", "run=breaks", on(three)))


def test_an_engine_that_asks_for_what_no_machine_has_ends(
    here: Path, three: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_GRACE_SECONDS", 1.0)
    monkeypatch.setattr(room, "_LOOK_SECONDS", 0.5)
    lacking = (
        r"1 of 1 workers have not come, and never will: each takes 1 CPU, 1 GPU.*x \(4 CPUs.*cluster\.engine: gpus"
    )
    with pytest.raises(RunError, match=lacking):
        rsft.run(rsft.load_recipe("scripted.yaml", "run=none", on(three, engine={"workers": 1, "cpus": 1, "gpus": 1})))


def test_workers_that_are_let_go_come_back_under_their_names(here: Path, three: Machines) -> None:
    cluster = ClusterSection.model_validate({"ray": three.address, "engine": {"workers": 2, "cpus": 1}})
    engine = hire(cluster, ScriptedEngine, {"replies": ["one", "two"]}, None, Path("logs"))

    def states() -> dict[str, str]:
        return {one["worker"]: one["state"] for one in read_rolls(Path("logs"), at_work=True).workers}

    drawn = []
    try:
        for _ in range(2):
            drawn.append({one.key: one.text for one in engine.sample(engine.base, wanted(40, 20))})
            assert "at work" in states().values()  # it is done so soon that the other one may not have come
            engine.dismiss()
            assert nobody_is_left()
            assert set(states().values()) == {"let go for training"}
    finally:
        engine.close()
    assert drawn[0] == drawn[1]
    assert states().keys() <= {"worker-1", "worker-2"}


def test_scorers_work_there_and_what_ends_them_is_said(here: Path, three: Machines) -> None:
    rsft.run(rsft.load_recipe("scripted.yaml", "run=alone"))
    scorers = {"slow": {"workers": 3, "cpus": 1}}
    with failpoints.listening(killed_at_draw(9, lambda: os.kill(actors()[-1], signal.SIGKILL))):
        rsft.run(rsft.load_recipe("scripted.yaml", "run=many", on(three, scorers=scorers)))
    assert came_to("alone") == came_to("many")
    with pytest.raises(UserError, match="the scorer has no licence here"):
        rsft.run(rsft.load_recipe("scripted.yaml", "run=x", "scorers.slow=mine.py:mended", on(three, scorers=scorers)))


def test_the_command_line_and_the_doctor(here: Path, three: Machines, cli: Command, monkeypatch: Any) -> None:
    monkeypatch.setenv("RAY_ADDRESS", three.address)
    said = cli("run", "scripted.yaml", "--ray", "--set", "run=ray", "--json")
    assert said.code == 0, said.err
    rsft.run(rsft.load_recipe("scripted.yaml", "run=alone"))
    assert came_to("alone") == came_to("ray")
    assert cli("resume", "ray").code == 0  # a finished run, with or without a cluster
    found = json.loads(cli("doctor", "--ray", "--json").out)
    machines = [check for check in found["checks"] if check["about"] == "cluster"]
    assert len(machines) == 1 + 3
    assert all(check["state"] == "ok" for check in machines), machines


def test_where_there_is_no_cluster_one_is_told_what_to_do(here: Path) -> None:
    with pytest.raises(RunError, match="ray start --head"):
        rsft.run(rsft.load_recipe("scripted.yaml", "run=none", "cluster=127.0.0.1:1"))
    assert not Path("none/recipe.yaml").exists()


@pytest.mark.parametrize(
    ("cluster", "told"),
    [
        ("{scorers: {slwo: {workers: 2}}}", "Did you mean 'slow'"),
        ("{scorers: {even: {workers: 2}}}", "answers at once"),
    ],
)
def test_scorers_that_are_not_there_are_refused(here: Path, cluster: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        rsft.run(rsft.load_recipe("scripted.yaml", "run=none", f"cluster={cluster}"))


def test_nothing_of_ray_is_imported_without_a_cluster(here: Path) -> None:
    looks = (
        "import sys, rsft; from rsft.loop import run;"
        "run(rsft.load_recipe('scripted.yaml', 'run=alone'));"
        "assert not any(name.partition('.')[0] == 'ray' for name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", looks], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
