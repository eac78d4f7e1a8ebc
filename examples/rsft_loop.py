"""Rejection sampling fine-tuning in one file, with torch and transformers alone: the same algorithm, written out.

    python examples/rsft_loop.py MODEL_FOLDER TRAIN.jsonl

Rows hold `id`, `messages` and `facts`. It draws one candidate at a time, keeps nothing on the disk, trains all weights,
and needs the memory and the hours for that. rsft draws the same candidates and accepts the same ones, which a test
asserts; what it adds is everything around them.
"""

import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

SEED, ITERATIONS, CANDIDATES, CAP = 0, 2, 8, 2
TEMPERATURE, MAX_TOKENS = 0.9, 24
LEARNING_RATE, EPOCHS, MAX_GRAD_NORM = 1e-3, 2, 1.0


def main(model_folder: str, train_file: str) -> list[tuple[int, str, int]]:
    """Run the loop; returns what was accepted, as (iteration, prompt id, sample index)."""
    prompts = [json.loads(line) for line in Path(train_file).read_text(encoding="utf-8").splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = load(model_folder)
    accepted: list[dict[str, Any]] = []
    for iteration in range(1, ITERATIONS + 1):
        candidates = [
            sample(model, tokenizer, prompt, iteration, index) for prompt in prompts for index in range(CANDIDATES)
        ]
        for candidate in candidates:
            candidate["score"] = states_every_fact(candidate["text"], candidate["prompt"]["facts"])
        chosen = select(candidates)
        accepted += chosen
        model = train(load(model_folder), accepted)  # from the base again, on all that was accepted
        print(f"iteration {iteration}: accepted {len(chosen)} of {len(candidates)}")
    return [(c["iteration"], c["prompt"]["id"], c["index"]) for c in accepted]


def load(folder: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def uniforms(iteration: int, prompt_id: str, index: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A candidate's own random numbers: they don't depend on which others are drawn, or when."""
    name = f"{SEED}\0{iteration}\0{prompt_id}\0{index}"
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    return np.random.Generator(np.random.Philox(key=key)).random(MAX_TOKENS, dtype=np.float32)


@torch.inference_mode()
def sample(model: Any, tokenizer: Any, prompt: dict[str, Any], iteration: int, index: int) -> dict[str, Any]:
    """One reply, token by token: each is where the running sum of the probabilities passes a uniform number."""
    text = tokenizer.apply_chat_template(prompt["messages"], tokenize=False, add_generation_prompt=True)
    prompt_ids = tokenizer.encode(text, add_special_tokens=False)
    end_of_turn = tokenizer.convert_tokens_to_ids("<|im_end|>")
    step = torch.tensor([prompt_ids])
    cache, reply, stopped = None, [], False
    for number in uniforms(iteration, prompt["id"], index):
        out = model(input_ids=step, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        sums = torch.softmax(out.logits[0, -1] / TEMPERATURE, -1).cumsum(-1)
        token = int(torch.searchsorted(sums, sums[-1] * float(number), right=True))
        reply.append(token)
        stopped = token in (end_of_turn, tokenizer.eos_token_id)
        if stopped:
            break
        step = torch.tensor([[token]])
    said = tokenizer.decode(reply[:-1] if stopped else reply, clean_up_tokenization_spaces=False)
    return {
        "iteration": iteration, "prompt": prompt, "index": index, "text": said, "stopped": stopped,
        "prompt_ids": prompt_ids, "reply_ids": reply,
    }  # fmt: skip


def states_every_fact(text: str, facts: list[str]) -> float:
    """The score: 1 if the reply holds every fact."""
    return float(all(fact in text for fact in facts))


def mixed(number: int) -> int:
    """64 bits that all hang on all of the number's (SplitMix64's finaliser)."""
    z = (number + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def select(candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each prompt at most CAP finished replies with a score of 1; a hash draws the lots."""

    def lot(candidate: dict[str, Any]) -> int:
        name = f"lot\0{candidate['prompt']['id']}"
        return mixed(int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) ^ mixed(candidate["index"]))

    chosen: list[dict[str, Any]] = []
    for candidate in sorted(candidates, key=lot):
        of_prompt = [c for c in chosen if c["prompt"]["id"] == candidate["prompt"]["id"]]
        if candidate["stopped"] and candidate["score"] >= 1 and len(of_prompt) < CAP:
            chosen.append(candidate)
    return chosen


def train(model: Any, accepted: list[dict[str, Any]]) -> Any:
    """Ascend the log-likelihood of what was accepted: one step an epoch, on all of it at once."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    tokens = sum(len(candidate["reply_ids"]) for candidate in accepted)
    for _ in range(EPOCHS):
        for candidate in accepted:
            ids = torch.tensor([candidate["prompt_ids"] + candidate["reply_ids"]])
            start = len(candidate["prompt_ids"])
            logits = model(input_ids=ids).logits[0, start - 1 : -1]
            loss = torch.nn.functional.cross_entropy(logits, ids[0, start:], reduction="sum") / tokens
            assert math.isfinite(loss.item())
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


if __name__ == "__main__":
    main(*sys.argv[1:])
