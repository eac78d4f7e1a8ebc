"""The contract of an engine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rsft.types import Candidate, CandidateKey, Policy, Prompt, SamplingParams


@dataclass(frozen=True, slots=True)
class Request:
    """One candidate that is wanted: its key, its prompt, and the seed of its own random stream."""

    key: CandidateKey
    prompt: Prompt
    seed: int


class Engine(Protocol):
    """Samples candidates. Batching, caches and retries are its own business."""

    @classmethod
    def open(cls, options: Mapping[str, Any], network: Callable[[], Any]) -> Engine:
        """An engine with the recipe's options. `network` gives the run's one loaded network, for those that want it."""
        ...

    @property
    def base(self) -> Policy:
        """The policy that nothing was trained into yet."""
        ...

    @property
    def description(self) -> dict[str, object]:
        """What of the engine can change a candidate (its name, the precision); part of the generator fingerprint."""
        ...

    def sample(self, policy: Policy, requests: Sequence[Request], params: SamplingParams) -> Iterator[Candidate]:
        """Yield each requested candidate once, as soon as it is finished, in any order.

        Requests of one prompt share what can be shared. A candidate depends on its own request and the policy only,
        but for the rounding differences that batch shapes cause. A prompt that can't be sampled from yields *failed*
        candidates that say why.
        """
        ...


def stream_seed(run_seed: int, iteration: int, prompt_id: str, sample_index: int) -> int:
    """The seed of a candidate's random stream: 128 bits of a stable hash of what identifies it within a run."""
    text = f"{run_seed}\0{iteration}\0{prompt_id}\0{sample_index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
