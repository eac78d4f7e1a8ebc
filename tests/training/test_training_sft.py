"""The trainer: the loss covers the reply alone, the accepted become likelier, and the network is left as it was."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from rsft.engines.base import Request
from rsft.engines.local import LocalEngine
from rsft.models.chat import ChatTokenizer
from rsft.models.network import Network
from rsft.models.packing import ReplyRow, packs
from rsft.models.references import ModelFolder
from rsft.training.settings import Lora
from rsft.training.sft import SftTraining, training_rows
from rsft.types import Candidate, CandidateKey, Message, Prompt, SamplingParams
from tiny import CHATML, GEMMA, LLAMA3, save_model, tokenizer

MESSAGES = (Message("user", "When do you open?"), Message("assistant", "Where?"), Message("user", "In Oslo."))


def silent(step: int, of: int) -> None: ...


def accepted(chat: ChatTokenizer, text: str = "At 9 am.", prompt_id: str = "p") -> tuple[Prompt, Candidate]:
    ids = (*chat.tokenizer.encode(text, add_special_tokens=False), chat.end_of_turn)
    return Prompt(prompt_id, MESSAGES, MESSAGES), Candidate(CandidateKey(1, prompt_id, 0, "g"), text, ids, "stop", 0, 0)


@pytest.mark.parametrize(
    ("template", "taught"),
    [(CHATML, "At 9 am.<|im_end|>"), (LLAMA3, "At 9 am.<|eot_id|>"), (GEMMA, "At 9 am.<end_of_turn>")],
    ids=["chatml", "llama3", "gemma"],
)
def test_loss_mask(template: str, taught: str) -> None:
    """Golden: the reply and its end-of-turn token carry loss, and nothing of the conversation does."""
    chat = ChatTokenizer(tokenizer(template))
    (row,) = training_rows(chat, [accepted(chat)])
    turns = [{"role": m.role, "content": m.content} for m in MESSAGES]
    context = chat.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    (pack,) = packs([row], 1000)
    assert chat.tokenizer.decode([*row.prompt_ids, *row.reply_ids]) == context + taught
    assert chat.tokenizer.decode(pack.targets_T) == taught
    assert pack.ids_N.tolist() == [*row.prompt_ids, *row.reply_ids][:-1]


def rows_of(network: Network) -> list[ReplyRow]:
    texts = ["At 9 am.", "We open at nine.", "Nine o'clock, every day of the week but Sunday.", "9."]
    return training_rows(network.chat, [accepted(network.chat, text, f"p{i}") for i, text in enumerate(texts)])


def log_likelihood(module: Any, rows: list[ReplyRow]) -> float:
    """The rows' summed log-likelihood, one row at a time, the plain way."""
    total = 0.0
    with torch.no_grad():
        for row in rows:
            logits = module(torch.tensor([row.read_ids], device=module.device)).logits[0, len(row.prompt_ids) - 1 :]
            taught = torch.tensor(row.reply_ids)[:, None]
            total += torch.log_softmax(logits.float().cpu(), -1).gather(1, taught).sum().item()
    return total


@pytest.mark.parametrize("lora", [Lora(rank=4), None], ids=["lora", "full"])
def test_one_small_step_raises_the_likelihood(tiny_folder: Path, tmp_path: Path, lora: Lora | None) -> None:
    """Training ascends: the formula is often printed with a sign that would unlearn what was accepted."""
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    rows = rows_of(network)
    before = log_likelihood(network.module, rows)
    one_step = SftTraining(lora=lora, learning_rate=1e-3, epochs=1, batch_size=4, warmup_share=0, schedule="constant")
    result = one_step.train_rows(network, rows, network.base, tmp_path / "weights", 0, silent)
    assert log_likelihood(network.module, rows) == pytest.approx(before, abs=1e-4), "the base is shown again"
    network.show(result.policy)
    after = log_likelihood(network.module, rows)
    assert after > before + 1e-3
    tokens = sum(len(row.reply_ids) for row in rows)
    assert result.log[0]["loss"] == pytest.approx(-before / tokens, rel=1e-4), "the mean over taught tokens, in nats"


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_no_row_is_cut_and_the_loss_is_trls(tmp_path: Path, architecture: str) -> None:
    """Rows beyond TRL's default of 1,024 tokens are whole, and our loss equals the one that TRL computes.

    Gemma 2 caps its logits behind the output layer.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    folder = save_model(tmp_path / "model", architecture=architecture)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    network = Network.load(ModelFolder("tiny", folder), dtype="float32")
    long = ReplyRow(tuple([65] * 1500), tuple([66] * 40))
    rows = [*rows_of(network), long]
    training = SftTraining(lora=Lora(rank=2), epochs=1, batch_size=5, learning_rate=1e-9)
    ours = training.train_rows(network, rows, network.base, tmp_path / "weights", 0, silent).log[0]["loss"]
    columns = {
        "input_ids": [[*row.prompt_ids, *row.reply_ids] for row in rows],
        "labels": [[*[-100] * len(row.prompt_ids), *row.reply_ids] for row in rows],
    }
    args = SFTConfig(
        str(tmp_path / "trl"), per_device_train_batch_size=5, max_length=None, report_to=[], use_cpu=True, bf16=False,
        activation_checkpointing=False, max_steps=1, learning_rate=1e-9, logging_steps=1, disable_tqdm=True,
        save_strategy="no", dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    fresh = Network.load(ModelFolder("tiny", folder), dtype="float32")
    data = Dataset.from_dict(columns)
    trainer = SFTTrainer(fresh.module, args, train_dataset=data, processing_class=fresh.chat.tokenizer)
    trainer.train()
    assert ours == pytest.approx(trainer.state.log_history[0]["loss"], rel=1e-4)


def test_the_engine_samples_from_the_new_weights(tiny_folder: Path, tmp_path: Path) -> None:
    """Enough steps on one reply and the policy gives it; the base, asked again, still gives its own."""
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    engine = LocalEngine(network)
    prompt, candidate = accepted(network.chat)
    ask = [Request(CandidateKey(0, "p", 0, "g"), prompt, 0, SamplingParams(0, max_tokens=12))]
    (at_first,) = engine.sample(network.base, ask)
    training = SftTraining(lora=Lora(rank=8), learning_rate=1e-2, epochs=60, batch_size=1)
    rows = training_rows(network.chat, [(prompt, candidate)])
    learnt = training.train_rows(network, rows, network.base, tmp_path / "a", 0, silent).policy
    (taught,) = engine.sample(learnt, ask)
    assert (taught.text, taught.finish_reason) == ("At 9 am.", "stop")
    (base,) = engine.sample(network.base, ask)
    assert base.token_ids == at_first.token_ids
    again = training.train_rows(network, rows, network.base, tmp_path / "b", 0, silent).policy
    assert again.hash == learnt.hash, "the same rows, start and seed give the same policy"
    onwards = training.train_rows(network, rows, learnt, tmp_path / "c", 0, silent)
    assert onwards.log[0]["loss"] < 0.5, "going on starts from the policy"


@pytest.mark.parametrize("lora", [Lora(rank=4), None], ids=["lora", "full"])
def test_the_size_of_a_policy_is_known_beforehand(tiny_folder: Path, tmp_path: Path, lora: Lora | None) -> None:
    from rsft.models.shapes import linear_shapes, weight_shapes

    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    training = SftTraining(lora=lora, max_steps=1, batch_size=4)
    training.train_rows(network, rows_of(network), network.base, tmp_path / "weights", 0, silent)
    shapes = weight_shapes(str(tiny_folder))
    foreseen = training.policy_bytes(linear_shapes(shapes), sum(map(math.prod, shapes.values())))
    saved = {name: shape for file in tmp_path.glob("weights/*.safetensors") for name, shape in headers(file).items()}
    assert foreseen == 4 * sum(map(math.prod, saved.values()))


def headers(file: Path) -> dict[str, list[int]]:
    from safetensors import safe_open

    with safe_open(file, framework="np") as weights:
        return {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
