"""An interrupted training goes on where its last whole checkpoint stands, and comes to the same weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from rsft import failpoints
from rsft.models.attention import UnknownAttention
from rsft.models.network import Network
from rsft.models.packing import ReplyRow
from rsft.models.references import ModelFolder
from rsft.training import fitting
from rsft.training import trainer as trainer_module
from rsft.training.base import TrainingResult
from rsft.training.batches import apart
from rsft.training.settings import Lora
from rsft.training.sft import SftTraining
from rsft.types import Policy


class Interrupted(Exception):
    """What a test stops a training with."""


def rows(first: int = 65) -> list[ReplyRow]:
    return [ReplyRow(tuple(range(first, first + 20)), (number, 66, 67)) for number in range(65, 75)]


def training(lora: Lora | None) -> SftTraining:
    return SftTraining(lora=lora, batch_size=2, epochs=2, learning_rate=1e-3)


def stopping_at(step: int) -> Callable[[int, int], None]:
    def progress(done: int, of: int) -> None:
        if done == step:
            raise Interrupted

    return progress


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_CHECKPOINT_SECONDS", 0.0)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("lora", [Lora(rank=4), None], ids=["lora", "full"])
def test_it_goes_on_and_comes_to_the_same(tiny_folder: Path, tmp_path: Path, lora: Lora | None) -> None:
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    whole = training(lora).train_rows(network, rows(), network.base, tmp_path / "whole", 0, lambda *_: None)
    with pytest.raises(Interrupted):
        training(lora).train_rows(network, rows(), network.base, tmp_path / "again", 0, stopping_at(7))
    assert not (tmp_path / "again").exists()
    steps: list[int] = []
    again = training(lora).train_rows(
        network, rows(), network.base, tmp_path / "again", 0, lambda done, _: steps.append(done)
    )
    assert steps == [7, 8, 9, 10], "the checkpoint of the sixth step is where it goes on"
    assert again.policy.hash == whole.policy.hash
    assert [entry.get("loss") for entry in again.log] == [entry.get("loss") for entry in whole.log]
    assert not list(tmp_path.glob("*.work")), "nothing is left behind"


@pytest.mark.usefixtures("often")
def test_a_checkpoint_is_whole_or_absent(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    written: list[str] = []

    def dies(name: str) -> None:
        written.append(name)
        if written.count("checkpoint.written") == 3:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "reached", dies)
        with pytest.raises(Interrupted):
            training(Lora(rank=4)).train_rows(network, rows(), network.base, tmp_path / "a", 0, lambda *_: None)
    (kept,) = (tmp_path / "a.work").glob("checkpoint-*")
    assert kept.name == "checkpoint-2", "the third was not whole, and the first is not kept"
    steps: list[int] = []
    training(Lora(rank=4)).train_rows(
        network, rows(), network.base, tmp_path / "a", 0, lambda done, _: steps.append(done)
    )
    assert steps[0] == 3


@pytest.mark.usefixtures("often")
def test_another_training_begins_anew(tiny_folder: Path, tmp_path: Path) -> None:
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    with pytest.raises(Interrupted):
        training(Lora(rank=4)).train_rows(network, rows(), network.base, tmp_path / "a", 0, stopping_at(3))
    steps: list[int] = []
    training(Lora(rank=4)).train_rows(
        network, rows(70), network.base, tmp_path / "a", 0, lambda done, _: steps.append(done)
    )
    assert steps == list(range(1, 11))


def test_a_model_that_cannot_share_is_trained_row_by_row(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    shared = training(Lora(rank=4)).train_rows(network, rows(), network.base, tmp_path / "a", 0, lambda *_: None)

    def refuses(*_: object) -> None:
        raise UnknownAttention("its attention takes sinks")

    monkeypatch.setattr(trainer_module, "probe_attention", refuses)
    with caplog.at_level(logging.WARNING, "rsft"):
        singly = training(Lora(rank=4)).train_rows(network, rows(), network.base, tmp_path / "b", 0, lambda *_: None)
    assert "its attention takes sinks" in caplog.text
    one, other = ([entry["loss"] for entry in result.log if "loss" in entry] for result in (shared, singly))
    assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.usefixtures("often")
def test_the_best_weights_are_kept_by_heldout_loss(tiny_folder: Path, tmp_path: Path) -> None:
    """With a rate that soon does harm the last epoch is not the best. Interrupted or not, the same weights are kept."""
    rows = [ReplyRow((65 + number, *range(90, 100)), (number + 40, 66, 67)) for number in range(12)]
    harmful = SftTraining(
        lora=Lora(rank=4), batch_size=3, epochs=6, learning_rate=0.05, heldout_share=0.25, schedule="constant"
    )
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    learnt, heldout = apart(rows, 0.25, 0)
    assert (len(learnt), len(heldout)) == (9, 3)
    result = harmful.train_rows(network, rows, network.base, tmp_path / "a", 0, lambda *_: None)
    losses = [entry["heldout_loss"] for entry in result.log if "heldout_loss" in entry]
    assert len(losses) == 6
    assert min(losses) < losses[-1]
    network.show(result.policy)
    total, tokens = 0.0, 0
    for row in heldout:
        read, taught = (torch.tensor(ids, device=network.device) for ids in (row.read_ids, row.reply_ids))
        logits = network.module(read[None]).logits[0, len(row.prompt_ids) - 1 :]
        total += torch.nn.functional.cross_entropy(logits, taught, reduction="sum").item()
        tokens += len(row.reply_ids)
    assert total / tokens == pytest.approx(min(losses), rel=1e-4)
    with pytest.raises(Interrupted):
        harmful.train_rows(network, rows, network.base, tmp_path / "b", 0, stopping_at(13))
    again = harmful.train_rows(network, rows, network.base, tmp_path / "b", 0, lambda *_: None)
    assert again.policy.hash == result.policy.hash


@pytest.mark.usefixtures("often")
def test_the_best_weights_are_kept_by_score(tiny_folder: Path, tmp_path: Path) -> None:
    """The judge gets each epoch's policy and the conversations held out; interrupted while it judges, all is there."""
    by_score = SftTraining(lora=Lora(rank=4), batch_size=3, epochs=3, heldout_share=0.25, keep_by="score")
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    many = [ReplyRow((65 + number, *range(90, 100)), (number + 40, 66, 67)) for number in range(12)]
    _, heldout = apart(many, 0.25, 0)
    judged: list[Policy] = []

    def judge(policy: Policy, asked: Sequence[ReplyRow]) -> float:
        assert list(asked) == heldout
        network.show(policy)  # as an engine does
        judged.append(policy)
        if len(judged) == 3:
            raise Interrupted
        return [0.2, 0.7, 0.0, 0.2, 0.7, 0.7][len(judged) - 1]

    steps: list[int] = []

    def train() -> TrainingResult:
        return by_score.train_rows(
            network, many, network.base, tmp_path / "a", 0, lambda done, _: steps.append(done), judge
        )

    with pytest.raises(Interrupted):
        train()
    result = train()
    assert steps == list(range(1, 10)), "nothing is trained again"
    assert [policy.hash for policy in judged[3:]] == [policy.hash for policy in judged[:3]]
    assert result.policy.hash == judged[1].hash, "of equals the earlier"
    assert [entry["heldout_score"] for entry in result.log if "heldout_score" in entry] == [0.2, 0.7, 0.7]
    assert not (tmp_path / "a.work").exists()


def test_one_conversation_has_none_to_hold_out(tiny_folder: Path, tmp_path: Path) -> None:
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    for by in ("loss", "score"):
        alone = SftTraining(lora=Lora(rank=4), epochs=1, heldout_share=0.5, keep_by=by)
        result = alone.train_rows(network, rows(), network.base, tmp_path / by, 0, lambda *_: None, lambda *_: 1 / 0)
        assert result.policy.adapter == str(tmp_path / by)


def test_weights_are_kept_though_no_loss_is_a_number(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module.ReplyTrainer, "mean_loss", lambda *_: float("nan"))
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    many = [ReplyRow((65 + number, *range(90, 100)), (number + 40, 66, 67)) for number in range(6)]
    diverging = SftTraining(lora=Lora(rank=4), epochs=2, heldout_share=0.2)
    diverging.train_rows(network, many, network.base, tmp_path / "a", 0, lambda *_: None)
    assert (tmp_path / "a" / "adapter_model.safetensors").is_file()
