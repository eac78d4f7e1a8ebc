"""A real vLLM loads what was exported: the whole model by its folder, the adapter beside its base."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

import rsft
from rsft.engines.base import Request
from rsft.engines.local import LocalEngine
from rsft.engines.remote.vllm import _environment
from rsft.exporting import Wanted, export
from rsft.participants import student_of
from rsft.saved import saved_recipe
from rsft.servers.process import ServerProcess
from rsft.store import RunFolder
from rsft.types import CandidateKey, Prompt, SamplingParams

VLLM = Path(__file__).parents[2] / ".venv-vllm"
pytestmark = [
    pytest.mark.model,
    pytest.mark.alone,
    pytest.mark.skipif(not (VLLM / "ready").is_file(), reason="vLLM is not installed: make vllm-env"),
]
SMALL = (
    "training={lora: {rank: 8}, max_steps: 8, learning_rate: 1.0e-3}",
    "evaluation={samples: 0}",
    "loop={iterations: 1, control: none}",
    "guards={plateau: off}",
    "prompts.train_limit=8",
    "prompts.heldout_limit=4",
    "sampling.candidates=4",
)
TOKENS = 32


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("exported") / "run"
    rsft.run(rsft.load_recipe("demo", f"run={run}", *SMALL))
    return run


def replies_of(log: Path, arguments: Sequence[str], model: str, prompts: Sequence[Prompt]) -> list[str]:
    """Greedy replies of a vLLM with these arguments."""
    program = [str(VLLM / "bin/python"), "-m", "vllm.entrypoints.openai.api_server"]
    fixed = ["--host", "127.0.0.1", "--enforce-eager", "--max-model-len", "1024"]
    process = ServerProcess(
        lambda port: [*program, *fixed, "--port", str(port), *arguments],
        log,
        environment={**_environment(), "HF_HUB_OFFLINE": "1"},
    )
    process.start()
    try:
        return [_reply(process.address, model, prompt) for prompt in prompts]
    finally:
        process.stop()


def _reply(address: str, model: str, prompt: Prompt) -> str:
    turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
    asked = {"model": model, "messages": turns, "temperature": 0, "max_tokens": TOKENS}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/chat/completions", json.dumps(asked).encode(), headers)
    with urllib.request.urlopen(request, timeout=300) as answer:
        said: dict[str, Any] = json.load(answer)
    return str(said["choices"][0]["message"]["content"])


def alike(some: Sequence[str], others: Sequence[str]) -> float:
    """How much of the texts is a common beginning, summed up over them."""
    pairs = [(one, other, zip(one, other, strict=False)) for one, other in zip(some, others, strict=True)]
    return sum(
        sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both)) / max(len(one), len(other), 1)
        for one, other, both in pairs
    )


@pytest.mark.parametrize("kind", ["merged", "adapter"])
def test_vllm_loads_it_and_replies_as_the_policy_does(finished: Path, tmp_path: Path, kind: Any) -> None:
    """As this process does for the policy, until rounding parts them; and so for longer than as the base does."""
    student = student_of(saved_recipe(finished))
    base = str(student.folder.path)
    export(finished, tmp_path / "out", Wanted(model=kind, data="none", iteration=1, base=base))
    model = str(tmp_path / "out/model")
    arguments = ["--model", model, "--served-model-name", "policy"]
    if kind == "adapter":
        arguments = ["--model", base, "--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"policy={model}"]
    with RunFolder.open(finished, write=False) as folder:
        policy = folder.policies.of(1, "policy")
        prompts = folder.load_prompts("heldout")
    assert policy is not None
    by_server = replies_of(tmp_path / "log", arguments, "policy", prompts)
    engine = LocalEngine(student.network)
    law = SamplingParams(temperature=0, max_tokens=TOKENS)
    wanted = [Request(CandidateKey(0, prompt.id, 0, "x"), prompt, 0, law) for prompt in prompts]
    ours, plain = (
        [one.text for one in sorted(engine.sample(by, wanted), key=lambda one: one.key)] for by in (policy, engine.base)
    )
    order = sorted(range(len(prompts)), key=lambda place: prompts[place].id)
    said = [by_server[place] for place in order]
    assert alike(said, ours) > alike(said, plain), (said, ours, plain)
