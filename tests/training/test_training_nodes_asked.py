"""What a training over nodes asks of a Ray cluster, without one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from test_training_processes import rows

from rsft.errors import ModelError, RunError, TrainingError
from rsft.models.network import Network
from rsft.models.references import ModelFolder
from rsft.training import process
from rsft.training.job import Job
from rsft.training.launch import Model, read_job
from rsft.training.nodes import cluster, following
from rsft.training.nodes import launch as nodes_launch
from rsft.training.nodes.cluster import Reserved, Share, check, reserved, share
from rsft.training.nodes.following import Following
from rsft.training.nodes.member import Lost, Member
from rsft.training.nodes.node import Heard
from rsft.training.settings import SftSettings, launch_file
from rsft.training.sft import SftTraining
from rsft.types import Policy


def node(cpus: float = 0, gpus: float = 0, *, alive: bool = True, **more: Any) -> dict[str, Any]:
    has = {"CPU": cpus, **({"GPU": gpus} if gpus else {})}
    return {"Alive": alive, "NodeID": "another", "Resources": has, **more}


def settings(**options: Any) -> SftSettings:
    return SftSettings(**{"launch": "ddp", "nodes": 2, **options})


def test_all_gpus_that_so_many_nodes_have_are_asked_for() -> None:
    found = [node(8), node(32, 4), node(64, 8), node(64, 8), node(64, 16, alive=False)]
    assert share(settings(), found) == Share(processes=8, gpus=8, cpus=8)
    assert share(settings(nodes=3), found) == Share(processes=4, gpus=4, cpus=4)
    assert share(settings(nodes=4), found).gpus == 4, "the fourth is still to come"
    assert share(settings(gpus_per_node=2, cpus_per_node=12), found) == Share(2, 2, 12)
    assert share(settings(), found).bundle == {"CPU": 8.0, "GPU": 8.0}
    assert share(settings(gpus_per_node=1), []).bundle == {"CPU": 1.0, "GPU": 1.0}


def test_a_configuration_says_how_many_processes_there_are_on_each_node(tmp_path: Path) -> None:
    said = launch_file("ddp").read_text()
    file = tmp_path / "own.yaml"
    file.write_text(said + "num_processes: 3\n")
    asked = share(settings(launch=str(file), cpus_per_node=7), [node(16)])
    assert asked == Share(processes=3, gpus=0, cpus=7)
    assert asked.bundle == {"CPU": 7.0}
    assert asked.environment == {"OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": ""}
    file.write_text(said.replace("num_machines: 1", "num_machines: 4") + "num_processes: 16\n")
    asked = share(settings(launch=str(file)), [node(64, 8), node(64, 8)])
    assert asked == Share(processes=4, gpus=4, cpus=4)
    assert asked.environment == {"OMP_NUM_THREADS": "1"}


def test_where_nothing_makes_a_process_it_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"no node of the Ray cluster has any.*gpus_per_node.*num_processes"):
        share(settings(), [node(8), node(8, 4, alive=False)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nodes": 2, "launch": None}, r"nodes: 2 needs launch: ddp, fsdp2, zero3"),
        ({"nodes": None, "gpus_per_node": 1}, r"say how many \(nodes\)"),
        ({"nodes": 0}, "greater than or equal to 1"),
    ],
)
def test_what_can_not_be_asked_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings(**options)


def test_without_ray_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunError, match=r"training\.nodes\) needs Ray: pip install 'rsft\[ray\]'"):
        SftTraining(launch="ddp", nodes=2).check_machine()


class FakeRay(ModuleType):
    """A cluster of these nodes, on which placement groups stand as soon as there are enough."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        super().__init__("ray")
        self.found = list(nodes)
        self.asked: list[tuple[list[dict[str, float]], str]] = []
        self.removed = 0
        self.waited = 0
        self.options: list[dict[str, Any]] = []
        self.util = SimpleNamespace(
            placement_group=self._group,
            remove_placement_group=self._remove,
            placement_group_table=lambda group: {
                "bundles_to_node_id": {i: f"id{i}" for i in range(len(group.bundles))}
            },
        )

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict[str, Any]]:
        return self.found

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "own")

    def _group(self, bundles: list[dict[str, float]], *, strategy: str, name: str) -> Any:
        self.asked.append((bundles, strategy))
        return SimpleNamespace(bundles=bundles, wait=lambda seconds: self._wait(bundles))

    def _wait(self, bundles: list[dict[str, float]]) -> bool:
        self.waited += 1
        return len(bundles) <= sum(one["Alive"] for one in self.found)

    def _remove(self, group: Any) -> None:
        self.removed += 1

    def remote(self, kind: Any) -> Any:
        def options(**said: Any) -> Any:
            self.options.append(said)
            return SimpleNamespace(remote=lambda name: (kind, name))

        return SimpleNamespace(options=options)


ASKED = Share(processes=2, gpus=2, cpus=4)


def test_a_node_each_is_reserved_and_given_back() -> None:
    ray = FakeRay(
        node(4, 2, NodeID="id0", NodeName="10.0.0.1", NodeManagerAddress="10.0.0.1", NodeManagerHostname="gpu"),
        node(4, 2, NodeID="id1", NodeName="10.0.0.2", NodeManagerAddress="10.0.0.2", NodeManagerHostname="gpu"),
        node(4, 2, NodeID="id2", NodeName="big", NodeManagerAddress="10.0.0.3", NodeManagerHostname="gpu"),
    )
    with reserved(ray, ASKED, 3, least=1, patience=0) as held:
        assert held.names == ("gpu", "gpu-1", "big"), "no two by one name"
        assert not ray.removed
    assert ray.asked == [([{"CPU": 4.0, "GPU": 2.0}] * 3, "STRICT_SPREAD")]
    assert ray.removed == 1


def test_the_actor_on_a_node_has_what_was_reserved_there() -> None:
    pytest.importorskip("ray")
    ray = FakeRay()
    group = SimpleNamespace(bundles=[])
    nodes_launch._actor(ray, group, 1, ASKED, "gpu")
    (said,) = ray.options
    assert (said["num_gpus"], said["num_cpus"], said["max_restarts"]) == (2, 4, 0)
    assert said["scheduling_strategy"].placement_group is group
    assert said["scheduling_strategy"].placement_group_bundle_index == 1


def test_with_patience_gone_those_that_are_there_train(caplog: pytest.LogCaptureFixture) -> None:
    ray = FakeRay(node(4, 2, NodeID="id0"), node(4, 2, alive=False, NodeID="id1"))
    with reserved(ray, ASKED, 2, least=1, patience=-1) as held:
        assert len(held.names) == 1
    assert [len(bundles) for bundles, _ in ray.asked] == [2, 1]
    assert ray.removed == 2
    assert "Of 2 nodes to train on, 1 are there" in caplog.text


def test_who_waits_is_told_for_what_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ray = FakeRay(node(4, 2))
    monkeypatch.setattr(cluster.time, "monotonic", lambda: 300.0 * ray.waited)
    with (
        pytest.raises(
            TrainingError, match=r"no 2 nodes \(4 CPUs, 2 GPUs each\).* for 30 minutes; 1 could.*rsft resume"
        ),
        reserved(ray, ASKED, 2, least=2, patience=0),
    ):
        pass
    assert ray.removed == 1
    assert "2 nodes to train on have not come yet (4 CPUs, 2 GPUs each; 1 of 1 machines have that)" in caplog.text


def test_nodes_that_are_to_come_are_no_mistake(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "ray", FakeRay(node(8, 4)))
    check(settings())
    assert "1 of the Ray cluster's nodes could train (4 CPUs, 4 GPUs each)" in caplog.text


def job(work: Path, **options: Any) -> Job:
    made = Job(settings(**{"lora": None, **options}), tuple(rows()), (), Policy(hash="ab"), 0, work)
    made.begin()
    return made


def test_losses_without_a_checkpoint_between_them_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path
) -> None:
    """Lost before anything, with a checkpoint, and then again and again."""
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    made = job(tmp_path / "x.work")
    tries: list[float] = []

    @contextmanager
    def held(ray: Any, asked: Share, wanted: int, *, least: int, patience: float) -> Iterator[Reserved]:
        assert (wanted, least) == (2, 1)
        tries.append(patience)
        yield Reserved(None, ())

    def lose(*_: Any) -> None:
        if len(tries) == 2:
            (made.work / "checkpoint-3").mkdir()
        raise Lost("The node far-away is lost.")

    monkeypatch.setitem(sys.modules, "ray", FakeRay(node(8, 4), node(8, 4)))
    monkeypatch.setattr(cluster, "reserved", held)
    monkeypatch.setattr(nodes_launch, "_train", lose)
    with pytest.raises(TrainingError, match=r"(?s)over 2 nodes.*3 times.*far-away is lost.*rsft resume"):
        nodes_launch.launch(network, made, lambda *_: None)
    assert tries == [600, 60, 60, 60]


def test_only_as_many_processes_go_on_where_each_holds_a_part_of_a_checkpoint(tmp_path: Path) -> None:
    assert nodes_launch._is_of_one_size(job(tmp_path / "a", launch="zero3"))
    assert not nodes_launch._is_of_one_size(job(tmp_path / "b", launch="fsdp2"))


class Scripted:
    """Two nodes that say this, piece by piece. It is both ray and its actors."""

    exceptions = SimpleNamespace(RayTaskError=ZeroDivisionError, RayError=ConnectionError)

    def __init__(self, *said: list[Heard | Exception]) -> None:
        self._said = [iter(one) for one in said]
        self.members = [Member(self, f"n{number}", number) for number in range(len(said))]

    def wait(self, answers: list[Any], **_: Any) -> Any:
        return answers[:1], answers[1:]

    def get(self, answer: tuple[Any, Any]) -> Any:
        if isinstance(answer[1], Exception):
            raise answer[1]
        return answer[1]


def follow(work: Path, monkeypatch: pytest.MonkeyPatch, *said: list[Heard | Exception]) -> list[tuple[int, int]]:
    """Hear it all."""
    script, steps = Scripted(*said), list[tuple[int, int]]()
    rounds = iter(range(1000))
    monkeypatch.setattr(Member, "ask", lambda member, what: (next(rounds), next(script._said[member.actor])))
    monkeypatch.setattr(following, "_LAST_WORDS_SECONDS", 3600.0)
    following_it = Following(script, script.members, job(work), lambda step, of: steps.append((step, of)))
    following_it.to_the_end()
    return steps


def heard(*lines: str, code: int | None = None) -> Heard:
    return Heard(tuple(f"{line}\n" for line in lines), code, ())


PEER = "rsft.failed RuntimeError: [gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.2]:4321"
BUG = "rsft.failed IndexError: Target 7 is out of bounds."
KILLED = "  traceback : Signal 9 (SIGKILL) received by PID 4321"
ENDED = "  traceback : Signal 15 (SIGTERM) received by PID 4321"


@pytest.mark.parametrize(
    ("said", "error", "reason"),
    [
        ([[heard(PEER, code=1)], [heard(BUG, code=1)]], TrainingError, r"On the node n1: IndexError: Target 7"),
        ([[heard(BUG), heard(ENDED, code=1)], [heard(PEER, code=1)]], TrainingError, r"On the node n0: IndexError"),
        ([[heard(PEER, code=1)], [heard(KILLED, code=1)]], Lost, r"On the node n1 a process was killed by SIGKILL"),
        ([[heard(PEER, code=1)], [ConnectionError("gone")]], Lost, r"The node n1 is lost"),
        ([[heard(PEER, code=1)], [heard("address in use", code=1)]], Lost, r"On the node n1 the processes ended and"),
        ([[heard(PEER, code=1)], [heard(PEER, code=1)]], Lost, r"On the node n0: RuntimeError.*closed by peer"),
        ([[heard(BUG, code=1)], [ConnectionError("gone")]], Lost, r"The node n1 is lost"),
    ],
)
def test_the_reason_is_told_not_what_followed_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Any, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        follow(tmp_path / "work", monkeypatch, *said)


def test_steps_and_warnings_are_told_and_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "work" / "log.json"
    monkeypatch.setattr(Following, "_bring_home", lambda *_, ended=False: log.write_text("[]") if ended else None)
    first = [heard("rsft.step 1 2", "hello", "rsft.warning mind the gap"), heard("rsft.step 2 2", code=0)]
    steps = follow(tmp_path / "work", monkeypatch, first, [heard("there"), heard(code=0)])
    assert steps == [(1, 2), (2, 2)]
    assert "mind the gap" in caplog.text
    assert (tmp_path / "work" / "processes-n0.log").read_text() == "hello\nrsft.warning mind the gap\n"
    assert (tmp_path / "work" / "processes-n1.log").read_text() == "there\n"


def test_a_process_refuses_another_base_model_than_the_run_has(tmp_path: Path, tiny_folder: Path) -> None:
    made = job(tmp_path / "work")
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    Model.of(network).write(made)
    model, read = read_job(made.work, str(tiny_folder))
    assert (model.hash, read) == (network.base.hash, made)
    with pytest.raises(ModelError, match=r"'tiny' in .* is another one than the run's: its hash is"):
        process._train(replace(model, hash="another"), read)


def test_a_process_takes_the_folders_of_its_own_machine(tmp_path: Path, tiny_folder: Path) -> None:
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    for kind in ("adapter", "weights"):
        made = Job(SftSettings(), tuple(rows()), (), Policy(hash="ab", **{kind: "/there"}), 0, tmp_path / kind)
        made.begin()
        Model.of(network).write(made)
        model, read = read_job(made.work, "/models/tiny", "/here")
        assert model.folder == "/models/tiny"
        assert read.start == Policy(hash="ab", **{kind: "/here"})


def test_what_was_made_elsewhere_takes_the_place_of_what_it_replaces(tmp_path: Path) -> None:
    made = job(tmp_path / "work")
    both = Job(SftSettings(heldout_share=0.3, keep_by="score"), made.rows, made.rows, made.start, 0, tmp_path / "all")
    both.begin()

    def bring(into: Job, name: str) -> None:
        aside = tmp_path / "aside" / name
        aside.mkdir(parents=True)
        into.keep(aside)

    for one in (made, both):
        for name in ("weights-2", "checkpoint-2", "weights-4", "checkpoint-4", "weights-4"):
            bring(one, name)
    assert (list(made.weights), list(made.checkpoints)) == ([4], [4])
    assert (list(both.weights), list(both.checkpoints)) == ([2, 4], [4])
    assert made.to_carry() == ["training", "job.json", "rows.parquet", "heldout.parquet", "checkpoint-4"]
