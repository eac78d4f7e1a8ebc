"""Training beside TRL's SFTTrainer on the same accepted replies, and the floor of the matrix products alone.

    python -m bench.training                 LoRA of rank 32
    python -m bench.training --full          all weights

Rows are made like an accepted set: the base model's replies to conversations of a shop, `--replies` of each. Both arms
train the same number of epochs in steps of the same size, from the same start, with the same learning rates, in turn in
this process. The stock trainer gets the quickest of several settings, found beforehand in a few steps of each. The
floor is the time of the base's linear layers, there and back, for the tokens that must be read, by the quickest
products there are.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.workload import Workload, finish, peak_gib, report, say
from rsft.models.linear import FrozenLinear, frozen_linears
from rsft.models.packing import ReplyRow, packs, read_tokens
from rsft.training.settings import Lora
from rsft.training.sft import SftTraining, training_rows

RATE, BATCH = 5e-4, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    Workload.add_arguments(parser)
    parser.add_argument("--replies", type=int, default=3, help="of each conversation")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    workload = Workload.of(arguments)
    rows = make_rows(workload, arguments.replies)
    learnt = sum(len(row.reply_ids) for row in rows)
    say(f"{len(rows)} rows of {workload.prompts} conversations, {learnt} tokens to learn, {read_tokens(rows)} to read")
    training = SftTraining(
        lora=None if arguments.full else Lora(rank=32), learning_rate=RATE, epochs=arguments.epochs, batch_size=BATCH
    )
    # Before and after: a machine's speed drifts within minutes.
    floors = [floor_seconds(workload, rows, training)]
    ours = with_rsft(workload, rows, training)
    say(f"rsft: {ours}")
    floors.append(floor_seconds(workload, rows, training))
    floor = statistics.mean(floors) * arguments.epochs
    say(f"floor, an epoch: {floors}")
    stock = with_trl(workload, rows, training)
    say(f"trl: {stock}")
    report(
        bench="training",
        weights="full" if arguments.full else "lora 32",
        rows=len(rows),
        learnt_tokens=learnt,
        read_tokens=read_tokens(rows),
        epochs=arguments.epochs,
        ratio_vs_sft_trainer=round(stock["seconds"] / ours["seconds"], 2),
        over_floor=round(ours["seconds"] / floor, 2),
        loss_difference=round(ours["loss_after"] - stock["loss_after"], 4),
        floor_seconds=round(floor, 1),
        arms={
            name: arm | {"learnt_per_second": round(learnt * arguments.epochs / arm["seconds"], 1)}
            for name, arm in (("rsft", ours), ("trl", stock))
        },
    )


def make_rows(workload: Workload, replies: int) -> list[ReplyRow]:
    from rsft.engines.local import LocalEngine

    network = workload.network()
    prompts = {prompt.id: prompt for prompt in workload.read(network)}
    wanted = [one for one in workload.requests(list(prompts.values())) if one.key.sample_index < replies]
    drawn = sorted(LocalEngine(network).sample(network.base, wanted), key=lambda candidate: candidate.key)
    return training_rows(network.chat, [(prompts[candidate.key.prompt_id], candidate) for candidate in drawn])


def with_rsft(workload: Workload, rows: Sequence[ReplyRow], training: SftTraining) -> dict[str, Any]:
    network = workload.network()
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        result = training.train_rows(network, rows, network.base, Path(scratch) / "policy", 0, lambda *_: None)
        seconds = time.perf_counter() - began
        peak = peak_gib()
        network.show(result.policy)
        return {"seconds": round(seconds, 1), "loss_after": loss(network.module, rows), "peak_gib": peak}


def with_trl(workload: Workload, rows: Sequence[ReplyRow], training: SftTraining) -> dict[str, Any]:
    settings = [
        {"per_device_train_batch_size": micro, "gradient_accumulation_steps": BATCH // micro, "bf16": autocast}
        for micro in (8, 4)
        for autocast in (False, True)
    ]
    tried = {str(one): sft_trainer(workload, rows, training, one, steps=3)[0] for one in settings}
    say(f"trl, seconds of 3 steps: {tried}")
    best = min(settings, key=lambda one: tried[str(one)])
    seconds, module = sft_trainer(workload, rows, training, best)
    return {
        "seconds": round(seconds, 1),
        "loss_after": loss(module, rows),
        "peak_gib": peak_gib(),
        "settings": best,
    }


def sft_trainer(
    workload: Workload, rows: Sequence[ReplyRow], training: SftTraining, settings: dict[str, Any], steps: int = -1
) -> tuple[float, Any]:
    """Seconds, and the trained module."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    network = workload.network()
    lora = training.lora
    module = network.module
    if lora is None:
        module = AutoModelForCausalLM.from_pretrained(network.folder, dtype=torch.float32)
    adapter = lora and LoraConfig(
        r=lora.rank, lora_alpha=2 * lora.rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    columns = {
        "input_ids": [[*row.prompt_ids, *row.reply_ids] for row in rows],
        "labels": [[*[-100] * len(row.prompt_ids), *row.reply_ids] for row in rows],
    }
    with tempfile.TemporaryDirectory() as scratch:
        args = SFTConfig(
            scratch,
            num_train_epochs=training.epochs,
            max_steps=steps,
            learning_rate=training.learning_rate,
            lr_scheduler_type=training.schedule,
            warmup_steps=training.warmup_share,
            weight_decay=0.0,
            train_sampling_strategy="group_by_length",
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            activation_checkpointing=False,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            **settings,
        )
        trainer = SFTTrainer(
            module,
            args,
            train_dataset=Dataset.from_dict(columns),
            processing_class=network.chat.tokenizer,
            peft_config=adapter,
        )
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
    gc.collect()
    return seconds, trainer.model.eval()


@torch.inference_mode()
def loss(module: Any, rows: Sequence[ReplyRow]) -> float:
    """The mean over the learnt tokens, in nats, by the model's own attention."""
    total = 0.0
    for row in rows:
        logits = module(input_ids=torch.tensor([row.read_ids], device=module.device), use_cache=False).logits[0]
        taught = torch.tensor(row.reply_ids, device=module.device)
        total += float(
            torch.nn.functional.cross_entropy(logits[len(row.prompt_ids) - 1 :].float(), taught, reduction="sum")
        )
    return round(total / sum(len(row.reply_ids) for row in rows), 4)


def floor_seconds(workload: Workload, rows: Sequence[ReplyRow], training: SftTraining) -> float:
    """One epoch's products: of each linear layer there and back, and of all weights' gradients if they are trained."""
    network = workload.network()
    module = network.module.requires_grad_(False)
    found = packs(rows, training.pack_tokens)
    head = module.get_output_embeddings()
    seconds = []
    with torch.inference_mode(), frozen_linears(module):
        layers = [child for child in module.modules() if isinstance(child, (FrozenLinear, torch.nn.Linear))]
        for _ in range(2):
            began = time.perf_counter()
            for pack in found:
                for layer in layers:
                    count = len(pack.sources_T) if layer.weight is head.weight else len(pack.ids_N)
                    inputs = layer.weight.shape[1]
                    there = torch.ones(count, inputs, dtype=network.dtype, device=network.device)
                    back = layer(there)
                    if isinstance(layer, FrozenLinear):
                        layer.back(back)
                    else:
                        back @ layer.weight
                    if training.lora is None:
                        back.T @ there
            finish()
            seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
