"""Processes on several nodes of a Ray cluster come to what one process comes to, whatever happens to them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
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
from rsft.training.nodes import launch as nodes_module
from rsft.training.settings import launch_file
from rsft.training.sft import SftTraining

ray = pytest.importorskip("ray")

TESTS = Path(__file__).parent
FILES_OF_A_CHECKPOINT = {"model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"}


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
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
        try:
            for number in range(2):
                made.add_node(num_cpus=1, node_name=f"node-{number}", **SMALL)
            ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


SMALL = {"object_store_memory": 80 * 2**20, "include_dashboard": False, "num_gpus": 0}


@pytest.fixture
def one_each(tmp_path: Path) -> Any:
    """A configuration of accelerate with one process on each node."""

    def write(named: str) -> str:
        file = tmp_path / f"{named}.yaml"
        file.write_text(launch_file(named).read_text() + "num_processes: 1\n")
        return str(file)

    return write


def learn(
    network: Network, where: Path, options: dict[str, Any], launch: str | None = None, nodes: int | None = None
) -> tuple[Any, list[tuple[int, int]]]:
    """The result of a training, and the steps that it told of."""
    steps: list[tuple[int, int]] = []
    training = SftTraining(**options, launch=launch, nodes=nodes)
    result = training.train_rows(
        network, rows(), network.base, where, 0, lambda step, of: steps.append((step, of))
    )
    return result, steps


def compare(network: Network, where: Path, options: dict[str, Any], launch: str) -> None:
    """The same losses, gradients and weights, by one process here and by one on each of two nodes."""
    one, _ = learn(network, where / "one", options)
    both, steps = learn(network, where / "both", options, launch, nodes=2)
    assert steps == [(step, len(steps)) for step in range(1, len(steps) + 1)]
    same(one, both, where)
    assert not (where / "both.work").exists()


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


@pytest.mark.usefixtures("cluster")
def test_two_nodes_learn_as_one_process_does(network: Network, tmp_path: Path, one_each: Any) -> None:
    compare(network, tmp_path, LORA, one_each("ddp"))
