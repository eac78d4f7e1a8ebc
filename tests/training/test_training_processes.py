"""Several processes that train together come to what one process comes to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from rsft.errors import TrainingError
from rsft.models.network import Network
from rsft.models.packing import ReplyRow
from rsft.models.references import ModelFolder
from rsft.training import launch as launch_module
from rsft.training.batches import split
from rsft.training.settings import Lora, launch_file
from rsft.training.sft import SftTraining

# One row a step: one of the two has nothing to learn.
LORA = {"lora": Lora(rank=4), "heldout_share": 0.3, "batch_size": 1, "epochs": 2, "learning_rate": 1e-2}
FULL = {"lora": None, "pack_tokens": 40, "batch_size": 4, "epochs": 2, "learning_rate": 1e-2}


def rows() -> list[ReplyRow]:
    """Families of several sizes, and weights of several, so that processes have unequal shares."""
    found = []
    for number, replies in enumerate((3, 1, 2, 3)):
        prompt = tuple(range(65 + number, 95 + number))
        found += [ReplyRow(prompt, (100 + reply, 66, 67, 68)[: 2 + reply], 1.0 + reply) for reply in range(replies)]
    return found


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who launches sees two GPUs. What is launched finds none, so it is on CPUs and speaks by gloo."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def compare(tiny_folder: Path, where: Path, options: dict[str, Any], launch: str) -> None:
    """The same losses, gradients and weights, by one process and by those that are launched."""
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    alone = SftTraining(**options)
    one = alone.train_rows(network, rows(), network.base, where / "one", 0, lambda *_: None)
    steps: list[tuple[int, int]] = []
    together = alone.model_copy(update={"launch": launch})
    both = together.train_rows(
        network, rows(), network.base, where / "both", 0, lambda step, of: steps.append((step, of))
    )
    assert len(steps) > 3
    assert steps == [(step, len(steps)) for step in range(1, len(steps) + 1)]
    for name in ("loss", "heldout_loss", "grad_norm"):
        said = [entry[name] for entry in both.log if name in entry]
        assert said == pytest.approx([entry[name] for entry in one.log if name in entry], rel=1e-3)
    (file,) = [path.name for path in (where / "one").glob("*.safetensors")]
    true, found = load_file(where / "one" / file), load_file(where / "both" / file)
    assert true.keys() == found.keys()
    for name, weight in true.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("options", [LORA, FULL], ids=["lora", "full"])
def test_two_processes_learn_as_one_does(tiny_folder: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    compare(tiny_folder, tmp_path, options, "ddp")


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("shipped", ["fsdp2", "zero3"])
@pytest.mark.parametrize("options", [LORA, FULL], ids=["lora", "full"])
def test_two_processes_that_hold_a_part_of_the_weights_each_do_too(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    shipped: str,
) -> None:
    if shipped == "zero3":
        pytest.importorskip("deepspeed")
    said: list[str] = []
    keep = shutil.rmtree

    def look(folder: Path, **options: Any) -> None:
        if Path(folder).name == "both.work" and (log := Path(folder) / "processes.log").is_file():
            said.append(log.read_text())
        keep(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", look)
    monkeypatch.setattr(launch_module, "PROGRAM", "cpus_as_gpus")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    compare(tiny_folder, tmp_path, options, shipped)
    (lines,) = said
    assert ("shards: FSDP" in lines and "'DTensor'" in lines) or "shards: DeepSpeedEngine" in lines


STARTER = """
import sys
from pathlib import Path
from rsft.models.network import Network
from rsft.models.references import ModelFolder
from rsft.training import launch
from rsft.training.sft import SftTraining
from test_training_processes import FULL, rows

launch.PROGRAM = "often"
model, where, configuration = map(Path, sys.argv[1:])
network = Network.load(ModelFolder("tiny", model), dtype="float32")
training = SftTraining(**FULL, launch=str(configuration))
training.train_rows(network, rows(), network.base, where, 0, lambda step, _: print("step", step, flush=True))
"""


def test_killed_they_end_and_another_run_goes_on(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "two.yaml"
    configuration.write_text(launch_file("ddp").read_text() + "num_processes: 2\n")
    tests = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tests), str(tests.parent)]), prepend=os.pathsep)
    command = [sys.executable, "-c", STARTER, str(tiny_folder), str(tmp_path / "both"), str(configuration)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        while starter.stdout.readline().strip() != "step 3":
            assert starter.poll() is None
        launched = psutil.Process(starter.pid).children(recursive=True)
        starter.send_signal(signal.SIGKILL)
    assert len(launched) >= 3, "accelerate's own and two that train"
    _, left = psutil.wait_procs(launched, timeout=30)
    assert not left
    assert not (tmp_path / "both").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    steps = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("step ")]
    assert 2 <= steps[0] <= 4, "it goes on from a checkpoint"
    assert (tmp_path / "both" / "model.safetensors").is_file()


@pytest.mark.usefixtures("two")
def test_what_made_one_of_them_fail_is_said(tiny_folder: Path, tmp_path: Path) -> None:
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    together = SftTraining(**FULL, launch="ddp")
    beyond = [ReplyRow((65, 66), (67,)), ReplyRow((66, 67), (100_000,))]  # a token that the model does not have
    with pytest.raises(TrainingError, match=r"(?s)training.launch: .*IndexError: Target 100000 is out of bounds.*rsft"):
        together.train_rows(network, beyond, network.base, tmp_path / "both", 0, lambda *_: None)
    assert "Traceback" in (tmp_path / "both.work" / "processes.log").read_text()


def test_without_gpus_a_shipped_configuration_is_refused_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(TrainingError, match=r"training.launch: fsdp2 .* torch finds none.*num_processes"):
        SftTraining(launch="fsdp2").check_machine()
    SftTraining().check_machine()


def test_a_configuration_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no file 'fdsp2'\. Did you mean 'fsdp2'"):
        SftTraining(launch="fdsp2")


@given(st.data())
def test_a_step_is_split_without_loss(data: st.DataObject) -> None:
    prompts = st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple)
    replies = st.lists(st.just(7), min_size=1, max_size=20).map(tuple)
    rows = sorted(
        data.draw(st.lists(st.builds(ReplyRow, prompts, replies), min_size=1, max_size=20)),
        key=lambda row: row.prompt_ids,
    )
    numbers = data.draw(st.permutations(range(len(rows))))
    parts = split(rows, numbers, data.draw(st.integers(1, 9)))
    assert [number for part in parts for number in part] == list(numbers)


def test_a_step_is_split_evenly() -> None:
    rows = [ReplyRow((1,) * 100, (7,) * 10) for _ in range(6)] + [ReplyRow((2,) * 100, (7,) * 30)]
    assert split(rows, range(7), 2) == [[0, 1, 2, 3, 4, 5], [6]], "160 tokens and 130: no conversation is read twice"
    assert split(rows[:1], [0], 3) == [[0], [], []], "not all need have some"
