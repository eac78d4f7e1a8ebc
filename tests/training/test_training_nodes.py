"""Processes on several nodes of a Ray cluster come to what one process comes to, whatever happens to them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file
from test_training_processes import FULL, LORA, rows

from rsft.errors import ModelError, TrainingError
from rsft.models.network import Network
from rsft.models.packing import ReplyRow
from rsft.models.references import ModelFolder
from rsft.training import launch as launch_module
from rsft.training.launch import STARTER
from rsft.training.nodes import cluster as cluster_module
from rsft.training.nodes import following as following_module
from rsft.training.nodes import launch as nodes_module
from rsft.training.settings import launch_file
from rsft.training.sft import SftTraining

ray = pytest.importorskip("ray")

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head without a CPU and two nodes with one each, all processes of this machine."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
        patch.setenv("RSFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]), prepend=os.pathsep)
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": QUICK, **SMALL})
        try:
            for number in range(2):
                made.add_node(num_cpus=1, node_name=f"node-{number}", **SMALL)
            ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


# A node that died is noticed in a few seconds.
QUICK = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
SMALL = {"object_store_memory": 80 * 2**20, "include_dashboard": False, "num_gpus": 0}


@pytest.fixture(autouse=True)
def few_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following_module, "_LAST_WORDS_SECONDS", 2.0)


@pytest.fixture
def one_each(tmp_path: Path) -> Any:
    """A configuration of accelerate with one process on each node."""

    def write(named: str) -> str:
        file = tmp_path / f"{named}.yaml"
        file.write_text(launch_file(named).read_text() + "num_processes: 1\n")
        return str(file)

    return write


def same(one: Any, both: Any, where: Path) -> None:
    for name in ("loss", "heldout_loss", "grad_norm"):
        said = [entry[name] for entry in both.log if name in entry]
        assert said == pytest.approx([entry[name] for entry in one.log if name in entry], rel=1e-3)
    (file,) = [path.name for path in (where / "one").glob("*.safetensors")]
    true, found = load_file(where / "one" / file), load_file(where / "both" / file)
    assert true.keys() == found.keys()
    for name, weight in true.items():
        assert found[name].numpy() == pytest.approx(weight.numpy(), rel=1e-3, abs=1e-4)


@pytest.fixture(scope="module")
def network(tiny_folder: Path) -> Network:
    return Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")


def launched(rank: int | None = None) -> list[psutil.Process]:
    """What actors have launched, or of it the process of this rank."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue
        ours = environment.get("RSFT_CACHE") == os.environ["RSFT_CACHE"]
        if ours and STARTER in environment and (rank is None or environment.get("RANK") == str(rank)):
            found.append(process)
    return found


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The logs that were in the folder of the work when that was removed."""
    found: dict[str, str] = {}
    remove, work = shutil.rmtree, tmp_path / "both.work"

    def look(folder: Any, **options: Any) -> None:
        if Path(folder) == work:
            found.update({file.name: file.read_text() for file in work.glob("processes-*.log")})
        remove(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", look)
    return found


def again(steps: list[int]) -> list[int]:
    """The steps that did not follow upon the one before: where it went on from a checkpoint."""
    return [after for before, after in pairwise(steps) if after != before + 1]


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("shipped", ["fsdp2", "zero3"])
def test_nodes_without_a_common_disk_learn_as_one_process_does_though_one_is_killed(
    network: Network,
    tmp_path: Path,
    one_each: Any,
    logs: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    shipped: str,
) -> None:
    """Each node holds a part of the weights, and its part of a checkpoint."""
    if shipped == "zero3":
        pytest.importorskip("deepspeed")
    monkeypatch.setattr(launch_module, "PROGRAM", "parts_often")
    monkeypatch.setattr(nodes_module, "_is_shared", lambda *_: False)
    steps: list[int] = []
    victims: list[int] = []

    def progress(step: int, of: int) -> None:
        steps.append(step)
        if step == 3 and not victims:
            victim = min(launched(rank=1), key=psutil.Process.create_time)  # not what it may have begun
            victim.kill()
            victims.append(victim.pid)

    one = SftTraining(**FULL).train_rows(network, rows(), network.base, tmp_path / "one", 0, lambda *_: None)
    training = SftTraining(**FULL, launch=one_each(shipped), nodes=2)
    both = training.train_rows(network, rows(), network.base, tmp_path / "both", 0, progress)
    assert victims
    assert set(steps) == set(range(1, max(steps) + 1))
    assert all(step > 1 for step in again(steps)), "it goes on from a checkpoint"
    same(one, both, tmp_path)
    assert re.search(r"On the node node-\d a process was killed by SIGKILL", caplog.text)
    assert len(logs) == 2
    assert all("shards: " in log for log in logs.values())
    assert "SIGKILL" in "".join(logs.values())
    assert not launched()
    homes = Path(os.environ["RSFT_CACHE"]) / "trainings"
    assert not list(homes.iterdir())


def test_where_a_node_is_lost_the_others_learn_the_same(
    cluster: Any,
    network: Network,
    tmp_path: Path,
    one_each: Any,
    logs: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(launch_module, "PROGRAM", "often")
    monkeypatch.setattr(nodes_module, "_PATIENCE_AFTER_LOSS_SECONDS", 2.0)
    monkeypatch.setattr(cluster_module, "_LOOK_SECONDS", 1.0)
    start = SftTraining(**LORA).train_rows(network, rows(), network.base, tmp_path / "start", 0, lambda *_: None).policy
    steps: list[int] = []

    def progress(step: int, of: int) -> None:
        steps.append(step)
        if step == 5 and steps.count(5) == 1:
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    one = SftTraining(**LORA).train_rows(network, rows(), start, tmp_path / "one", 0, lambda *_: None)
    training = SftTraining(**LORA, launch=one_each("ddp"), nodes=2)
    try:
        both = training.train_rows(network, rows(), start, tmp_path / "both", 0, progress)
    finally:
        cluster.add_node(num_cpus=1, node_name="node-2", **SMALL)
    assert set(steps) == set(range(1, max(steps) + 1))
    assert all(step > 3 for step in again(steps)), "it goes on from a checkpoint"
    same(one, both, tmp_path)
    assert re.search(r"The node node-\d is lost", caplog.text)
    assert "Of 2 nodes to train on, 1 are there" in caplog.text
    assert set(logs) == {"processes-node-0.log", "processes-node-1.log"}
    assert not launched()


@pytest.mark.usefixtures("cluster")
def test_what_made_one_of_them_fail_is_said_with_its_node(network: Network, tmp_path: Path, one_each: Any) -> None:
    beyond = [ReplyRow((65, 66), (67,)), ReplyRow((66, 67), (100_000,))]  # a token that the model does not have
    training = SftTraining(**FULL, launch=one_each("ddp"), nodes=1)
    with pytest.raises(
        TrainingError, match=r"(?s)nodes: 1\) failed\. On the node node-\d: IndexError: Target 100000.*rsft"
    ):
        training.train_rows(network, beyond, network.base, tmp_path / "both", 0, lambda *_: None)
    assert not launched()
    logs = list((tmp_path / "both.work").glob("processes-*.log"))
    assert any("Traceback" in log.read_text() for log in logs)


DRIVER = """
import sys
from pathlib import Path
import ray
from rsft.models.network import Network
from rsft.models.references import ModelFolder
from rsft.training import launch
from rsft.training.sft import SftTraining
from test_training_processes import FULL, rows

launch.PROGRAM = "often"
address, model, where, configuration = sys.argv[1:]
ray.init(address=address, log_to_driver=False)
network = Network.load(ModelFolder("tiny", Path(model)), dtype="float32")
training = SftTraining(**FULL, launch=configuration, nodes=2)
training.train_rows(network, rows(), network.base, Path(where), 0, lambda step, _: print("step", step, flush=True))
"""


def test_with_the_driver_all_ends_on_every_node(cluster: Any, network: Network, tmp_path: Path, one_each: Any) -> None:
    command = [
        sys.executable,
        "-c",
        DRIVER,
        cluster.address,
        str(network.folder),
        str(tmp_path / "both"),
        one_each("ddp"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as driver:
        assert driver.stdout is not None
        while driver.stdout.readline().strip() != "step 2":
            assert driver.poll() is None
        there = launched()
        driver.send_signal(signal.SIGKILL)
    assert len(there) >= 4, "accelerate's own and one that trains, on each of two nodes"
    _, left = psutil.wait_procs(there, timeout=60)
    assert not left
    assert list((tmp_path / "both.work").glob("checkpoint-*"))


@pytest.mark.usefixtures("cluster")
def test_a_node_that_lacks_the_model_is_named(tiny_folder: Path, tmp_path: Path, one_each: Any) -> None:
    shutil.copytree(tiny_folder, tmp_path / "model")
    network = Network.load(ModelFolder("tiny-that-nobody-has", tmp_path / "model"), dtype="float32")
    shutil.rmtree(tmp_path / "model")
    training = SftTraining(**FULL, launch=one_each("ddp"), nodes=1)
    with pytest.raises(ModelError, match=r"The node node-\d lacks the base model: 'tiny-that-nobody-has' is"):
        training.train_rows(network, rows(), network.base, tmp_path / "both", 0, lambda *_: None)
