"""A recipe's run as one writes it by hand, with transformers' `generate` and TRL's `SFTTrainer`.

    python -m bench.by_hand service_dialogues --set prompts.train=TRAIN.jsonl.gz --set prompts.heldout=DEV.jsonl.gz

Candidates of every prompt are drawn, up to three different ones of each that pass are kept, an adapter is trained from
the base on all that were kept so far, and measured on the held-out prompts; and again from the new policy. Prompts,
checks, laws and rates are the recipe's. There is no control, no record and no resuming.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from bench.checks import Checks
from bench.workload import report, say
from rsft.config import Recipe, load_recipe
from rsft.models.references import resolve
from rsft.setup import read_prompts
from rsft.training.settings import SftSettings
from rsft.types import Prompt, SamplingParams

ROWS, MICRO_BATCH, CAP = 64, 4, 3  # the quickest batches of `generate` and of SFTTrainer for SmolLM2 on two cores


def by_hand(recipe: Recipe) -> dict[str, Any]:
    """Run the recipe. Returns what each iteration came to."""
    torch.manual_seed(recipe.seed)
    folder = str(resolve(recipe.model).path)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    train, heldout, _ = read_prompts(recipe)
    for_samples = heldout[: recipe.evaluation.sampled_prompts]
    checks = Checks(recipe)
    model: Any = load(folder)
    kept: list[tuple[Prompt, str]] = []
    iterations: list[dict[str, Any]] = []
    for iteration in range(recipe.loop.iterations + 1):
        seconds = {}
        if iteration:
            began = time.perf_counter()
            drawn = generate(model, tokenizer, train, recipe.sampling.candidates, recipe.sampling.law())
            seconds["sample"] = time.perf_counter() - began
            chosen: defaultdict[str, set[str]] = defaultdict(set)
            for (prompt, text, _), passed in zip(drawn, checks.passed(*zip(*drawn, strict=True)), strict=True):
                if passed and text not in chosen[prompt.id] and len(chosen[prompt.id]) < CAP:
                    chosen[prompt.id].add(text)
                    kept.append((prompt, text))
            began = time.perf_counter()
            model = fine_tune(load(folder), tokenizer, recipe, kept)
            seconds["train"] = time.perf_counter() - began
        began = time.perf_counter()
        law = recipe.sampling.law(recipe.evaluation.temperature)
        greedy = generate(model, tokenizer, heldout, 1, replace(law, temperature=0))
        sampled = generate(model, tokenizer, for_samples, recipe.evaluation.samples, law)
        solved = defaultdict(bool)
        for (prompt, _, _), passed in zip(sampled, checks.passed(*zip(*sampled, strict=True)), strict=True):
            solved[prompt.id] |= passed
        share = sum(checks.passed(*zip(*greedy, strict=True))) / len(greedy)
        seconds["evaluate"] = time.perf_counter() - began
        said = {"trained_on": len(kept), "heldout_acceptance": share, "best_of": sum(solved.values()) / len(solved)}
        iterations.append(said | {"seconds": {stage: round(took, 1) for stage, took in seconds.items()}})
        say(json.dumps(iterations[-1]))
    return {"iterations": iterations}


def load(folder: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()


@torch.inference_mode()
def generate(
    model: Any, tokenizer: Any, prompts: list[Prompt], candidates: int, law: SamplingParams
) -> list[tuple[Prompt, str, bool]]:
    """So many replies to each prompt, each with whether it came to its end."""
    texts = {
        prompt.id: tokenizer.apply_chat_template(
            [{"role": turn.role, "content": turn.content} for turn in prompt.messages],
            tokenize=False,
            add_generation_prompt=True,
        )
        for prompt in prompts
    }
    in_order = sorted(prompts, key=lambda prompt: len(texts[prompt.id]))
    how: dict[str, Any] = {"do_sample": False}
    if law.temperature:
        how = {"do_sample": True, "temperature": law.temperature, "top_k": law.top_k, "top_p": law.top_p}
    replies, batch = [], ROWS // candidates
    for start in range(0, len(in_order), batch):
        some = in_order[start : start + batch]
        inputs = tokenizer([texts[prompt.id] for prompt in some], return_tensors="pt", padding=True)
        limits = {"num_return_sequences": candidates, "max_new_tokens": law.max_tokens}
        said = model.generate(**inputs, **how, **limits, pad_token_id=tokenizer.pad_token_id)
        for row, ids in enumerate(said[:, inputs["input_ids"].shape[1] :]):
            text = tokenizer.decode(ids, skip_special_tokens=True)
            replies.append((some[row // candidates], text, tokenizer.eos_token_id in ids))
    return replies


def fine_tune(model: Any, tokenizer: Any, recipe: Recipe, kept: list[tuple[Prompt, str]]) -> Any:
    """A LoRA adapter on the replies that were kept."""
    said = SftSettings(**recipe.training.options)
    rows = [
        {
            "prompt": [{"role": turn.role, "content": turn.content} for turn in prompt.messages],
            "completion": [{"role": "assistant", "content": text}],
        }
        for prompt, text in kept
    ]
    steps = -(-len(rows) // said.batch_size) * said.epochs
    with tempfile.TemporaryDirectory() as scratch:
        config = SFTConfig(
            scratch,
            max_steps=int(min(steps, said.max_steps or steps)),
            per_device_train_batch_size=MICRO_BATCH,
            gradient_accumulation_steps=said.batch_size // MICRO_BATCH,
            learning_rate=said.learning_rate,
            lr_scheduler_type=said.schedule,
            warmup_steps=said.warmup_share,
            weight_decay=0.0,
            train_sampling_strategy="group_by_length",
            max_length=None,
            activation_checkpointing=False,
            bf16=False,
            seed=recipe.seed,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        adapter = LoraConfig(
            r=said.lora.rank, lora_alpha=2 * said.lora.rank, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        trainer = SFTTrainer(
            model, config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer, peft_config=adapter
        )
        trainer.train()
    return trainer.model.merge_and_unload().eval()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):  # what the trainer prints
        said = by_hand(load_recipe(arguments.recipe, arguments.set))
    report(**said)
