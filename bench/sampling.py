"""The local engine beside transformers' `generate`, vLLM, and the floor: the bare matrix products of the same tokens.

    python -m bench.sampling                          64 conversations of some 145 tokens × 8 candidates × 64 tokens
    python -m bench.sampling --candidates 1           (or 32)
    python -m bench.sampling --prompt-tokens 1000
    python -m bench.sampling --arms rsft              only these

Arms run in turn, each in a process of its own after a warm-up, all by one sampling law; vLLM runs where `make vllm-env`
made its environment. Rates are in sampled tokens a second. `over_floor` is the engine's time over the time that its
matrix products take alone, at its own batch sizes, measured in turn with it: its own products, or torch's where those
are quicker. `over_torch_floor` is its time over torch's. Peaks are of the memory that the device has; vLLM's always of
the host's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.workload import Workload, finish, last_json, peak_gib, report, say

ARMS = ("rsft", "vllm", "generate")
VLLM_PYTHON = Path(".venv-vllm/bin/python")
# Rows in a batch that `generate` is tried with, on a part of the work, for as long as more rows, or fewer, help; the
# best then does all of it.
GENERATE_ROWS, GENERATE_ROWS_ON_GPU = (8, 16, 32, 64, 128, 256), (128, 256, 512, 1024, 2048)
_FIRST_TRY = 3
_PART, _PART_ON_GPU = 128, 2048  # candidates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    Workload.add_arguments(parser)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    workload = Workload.of(arguments)
    if arguments.arm:
        report(**{"rsft": rsft, "generate": generate, "vllm": vllm}[arguments.arm](workload))
        return
    found: dict[str, dict[str, Any]] = {}
    for arm in arguments.arms.split(","):
        if arm == "vllm" and not VLLM_PYTHON.exists():
            say("vllm: no environment (make vllm-env)")
            continue
        command = [sys.executable, "-m", "bench.sampling", "--arm", arm, *workload.as_arguments()]
        found[arm] = last_json(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        say(f"{arm}: {json.dumps(found[arm])}")
    summary: dict[str, Any] = {"bench": "sampling", "workload": " ".join(workload.as_arguments())}
    ours = found.get("rsft")
    if ours:
        summary |= {
            key: ours[key] for key in ("seconds", "tokens", "rate", "over_floor", "over_torch_floor", "peak_gib")
        }
        for arm in ("generate", "vllm"):
            if arm in found:
                summary[f"ratio_vs_{arm}"] = round(ours["rate"] / found[arm]["rate"], 2)
                summary[f"{arm}_peak_gib"] = found[arm]["peak_gib"]
    report(**summary, arms=found)


# -- the engine and its floor ----------------------------------------------------------------------------------------


def rsft(workload: Workload) -> dict[str, Any]:
    """The engine and its floor, twice each in turn; of each the better time."""
    from rsft.engines.local import LocalEngine
    from rsft.engines.local.serving import ServedModel

    network = workload.network()
    prompts = workload.read(network)
    engine = LocalEngine(network)
    list(engine.sample(network.base, workload.requests(prompts[:2])))
    passes: list[tuple[int, int]] = []
    logits = ServedModel.logits

    def counted(served: ServedModel, texts: Any) -> Any:
        passes.append((len(texts.ids_N), len(texts.wanted)))
        return logits(served, texts)

    ServedModel.logits = counted  # type: ignore[method-assign]
    module = network.plain()
    twin = None
    seconds, floors, torch_floors, peak, tokens = [], [], [], 0.0, 0
    for _ in range(2):
        passes.clear()
        began = time.perf_counter()
        drawn = list(engine.sample(network.base, workload.requests(prompts)))
        seconds.append(time.perf_counter() - began)
        peak = peak or peak_gib()
        twin = twin or ServedModel(module, "bench").twin
        tokens = sum(len(candidate.token_ids) for candidate in drawn)
        floors.append(_floor_seconds(module, twin, passes))
        torch_floors.append(_floor_seconds(module, module, passes))
    best, torch_floor = min(seconds), min(torch_floors)
    floor = min(*floors, torch_floor)
    return {
        **_rate(tokens, best),
        "floor_seconds": round(floor, 2),
        "over_floor": round(best / floor, 2),
        "torch_floor_seconds": round(torch_floor, 2),
        "over_torch_floor": round(best / torch_floor, 2),
        "read_tokens": sum(ids for ids, _ in passes) - tokens + len(drawn),
        "passes": len(passes),
        "peak_gib": peak,
        "both_seconds": [round(s, 1) for s in seconds],
        "both_floors": [round(s, 1) for s in floors],
        "both_torch_floors": [round(s, 1) for s in torch_floors],
    }


def _floor_seconds(module: Any, by: Any, passes: Sequence[tuple[int, int]]) -> float:
    """The time that nothing but the matrix products of these (tokens, logits) passes takes, as `by` computes them: the
    module or its twin."""
    import torch

    linear = {name: part for name, part in module.named_modules() if isinstance(part, torch.nn.Linear)}
    widths = {part.in_features for part in linear.values()}
    most = max(tokens for tokens, _ in passes)
    inputs = {w: torch.randn(most, w, dtype=module.dtype, device=module.device) for w in widths}
    head = module.get_output_embeddings()
    products = [(by.get_submodule(name), inputs[part.in_features], part is head) for name, part in linear.items()]
    with torch.inference_mode():
        for timed in (passes[:2], passes):
            began = time.perf_counter()
            for tokens, wanted in timed:
                for product, rows, of_head in products:
                    product(rows[: wanted if of_head else tokens])
            finish()
    return time.perf_counter() - began


# -- the others ------------------------------------------------------------------------------------------------------


def generate(workload: Workload) -> dict[str, Any]:
    """`generate` with num_return_sequences, prompts of one length together, in its best batch size."""
    network = workload.network()
    prompts = sorted((network.chat.prompt_ids(prompt.messages) for prompt in workload.read(network)), key=len)
    best = _best_batch(network, workload, prompts)
    tokens, seconds = _generated(network, workload, prompts, best)
    return {**_rate(tokens, seconds), "batch_rows": best * workload.candidates, "peak_gib": peak_gib()}


def _best_batch(network: Any, workload: Workload, prompts: list[list[int]]) -> int:
    """The prompts in a batch with the best rate on a part of the work."""
    on_cpu = network.device.type == "cpu"
    sizes, candidates = (GENERATE_ROWS, _PART) if on_cpu else (GENERATE_ROWS_ON_GPU, _PART_ON_GPU)
    part = prompts[:: max(1, len(prompts) * workload.candidates // candidates)]
    rates: dict[int, float] = {}

    def rate(rows: int) -> float:
        batch = max(1, min(rows // workload.candidates, len(part)))
        if batch not in rates:
            tokens, seconds = _generated(network, workload, part, batch)
            rates[batch] = tokens / seconds
            say(f"generate, {batch} prompts in a batch: {rates[batch]:.0f} tokens/s on a part")
        return rates[batch]

    for direction in (sizes[_FIRST_TRY::-1], sizes[_FIRST_TRY:]):
        for tried, rows in pairwise(direction):
            if rate(rows) < rate(tried):
                break
    return max(rates, key=lambda batch: rates[batch])


def _generated(network: Any, workload: Workload, prompts: list[list[int]], batch: int) -> tuple[int, float]:
    """Sampled tokens and seconds."""
    import torch

    stops = sorted(network.chat.stop_ids)
    began, total = time.perf_counter(), 0
    for start in range(0, len(prompts), batch):
        some = prompts[start : start + batch]
        width = max(map(len, some))
        ids = torch.tensor([[stops[0]] * (width - len(prompt)) + prompt for prompt in some], device=network.device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in some], device=network.device)
        with torch.inference_mode():
            said = network.module.generate(
                ids,
                attention_mask=mask,
                do_sample=True,
                temperature=workload.temperature,
                top_p=workload.top_p,
                top_k=0,
                num_return_sequences=workload.candidates,
                max_new_tokens=workload.max_tokens,
                eos_token_id=stops,
                pad_token_id=stops[0],
            )
        total += sum(_reply_length(reply, stops) for reply in said[:, width:].tolist())
    return total, time.perf_counter() - began


def _reply_length(token_ids: list[int], stops: list[int]) -> int:
    """Tokens up to the first that stops, which counts."""
    return next((place + 1 for place, token in enumerate(token_ids) if token in stops), len(token_ids))


def vllm(workload: Workload) -> dict[str, Any]:
    """vLLM in its own environment, on the same token ids."""
    network = workload.network()
    work = {
        "model": str(network.folder),
        "dtype": str(network.dtype).removeprefix("torch."),
        "prompts": [network.chat.prompt_ids(prompt.messages) for prompt in workload.read(network)],
        "stops": sorted(network.chat.stop_ids),
        "candidates": workload.candidates,
        "max_tokens": workload.max_tokens,
        "temperature": workload.temperature,
        "top_p": workload.top_p,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(work, file)
        file.flush()
        done = subprocess.run(
            [VLLM_PYTHON, Path(__file__).with_name("vllm_arm.py"), file.name],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    said = last_json(done.stdout)
    return {**_rate(said["tokens"], said["seconds"]), "peak_gib": said["peak_gib"]}


def _rate(tokens: int, seconds: float) -> dict[str, Any]:
    return {"seconds": round(seconds, 2), "tokens": tokens, "rate": round(tokens / seconds, 1)}


if __name__ == "__main__":
    main()
