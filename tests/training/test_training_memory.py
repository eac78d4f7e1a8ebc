"""Activations are computed again where they would not fit: what is learnt is the same, what is kept is less."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rsft.models.attention import run_tokens
from rsft.models.network import Network
from rsft.models.packing import ReplyRow, pack
from rsft.models.references import ModelFolder
from rsft.training import memory
from rsft.training.memory import kept_bytes
from rsft.training.settings import Lora
from rsft.training.sft import SftTraining
from rsft.training.trainer import sharing_tokens

ROWS = [ReplyRow(tuple(range(65, 65 + 20 + number)), (number + 40, 66, 67)) for number in range(12)]


@pytest.mark.parametrize("lora", [Lora(rank=4), None], ids=["lora", "full"])
def test_the_same_is_learnt(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lora: Lora | None,
) -> None:
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    layers = network.plain().model.layers
    runs: list[bool] = []

    def watched(*_: object) -> None:
        runs.append(torch.is_grad_enabled())

    def train(name: str) -> tuple[list[float], int]:
        runs.clear()
        training = SftTraining(lora=lora, batch_size=4, epochs=2)
        handle = torch.nn.modules.module.register_module_forward_pre_hook(
            lambda module, _: watched() if type(module) is type(layers[0].self_attn) else None
        )
        result = training.train_rows(network, ROWS, network.base, tmp_path / name, 0, lambda *_: None)
        handle.remove()
        return [entry["loss"] for entry in result.log if "loss" in entry], len(runs)

    kept, usual = train("kept")
    monkeypatch.setattr(memory, "free_bytes", lambda _: 1000)
    with caplog.at_level(logging.WARNING, "rsft"):
        again, more = train("again")
    assert "computed again" in caplog.text
    assert again == pytest.approx(kept, rel=1e-5)
    looks = 3 * len(layers)  # a token, whether the attention can be replaced; few and twice as many, what is kept
    assert more - looks == 2 * (usual - looks), "each layer runs twice in a step"
    monkeypatch.undo()
    assert train("once more") == (kept, usual), "the network is left as it was"


def test_what_a_pass_keeps_grows_with_its_tokens_and_holds_no_weights(tiny_folder: Path) -> None:
    module = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32").module.train()

    def keeps(row: ReplyRow) -> int:
        one = pack([row]).to(module.device)
        return kept_bytes(module, lambda: run_tokens(module, one.ids_N, one.positions_N, one.sources_T, pack=one))

    with sharing_tokens(module):
        short, long = keeps(ROWS[0]), keeps(ReplyRow(tuple(range(200)), (1, 2)))
        assert 0 < 4 * short < long
        module.activation_checkpointing_enable({"use_reentrant": False})
        assert keeps(ReplyRow(tuple(range(200)), (1, 2))) < long / 3


@pytest.mark.parametrize(
    ("kept", "tokens"), [(lambda n: n * 100, 1000), (lambda n: n * n, 2000)], ids=["each", "pairs"]
)
def test_few_tokens_tell_what_many_keep(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, kept: Callable[[int], int], tokens: int
) -> None:
    module = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32").module.requires_grad_(False)

    def forward(count: int) -> None:
        assert count <= 128
        torch.ones(kept(count), requires_grad=True).exp()

    (row,) = [ReplyRow(tuple([65] * tokens), (66,))]
    fixed = 12 * module.config.vocab_size
    for share, short in ((0.9, True), (1.1, False)):
        monkeypatch.setattr(memory, "free_bytes", lambda _, share=share: (4 * kept(tokens) * share + fixed) / 0.8)
        assert memory.is_too_short(module, forward, [pack([row])]) == short
