"""The contract of an engine."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rsft.types import Candidate, CandidateKey, Ended, Kind, Policy, Prompt, SamplingParams


@dataclass(frozen=True, slots=True)
class Request:
    """One candidate that is wanted: its key, its prompt, the seed of its own random stream, and its sampling law.

    `family_seed` is the same for all candidates of a prompt in an iteration. Servers that draw several replies at once
    take one seed for them and count on from it: with this one, counted on by the sample index, each candidate has the
    same seed however they are grouped.
    """

    key: CandidateKey
    prompt: Prompt
    seed: int
    params: SamplingParams
    family_seed: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is sent: see `Candidate`."""
        return Request, (self.key, self.prompt, self.seed, self.params, self.family_seed)


Watcher = Callable[[str, int], Ended | None]
"""Sees one candidate's text as far as it is settled, with the number of its tokens, after each of them; what it returns
ends the candidate there. Settled is what the whole reply will begin with, whatever tokens follow."""
Watch = Callable[[Request], Watcher | None]
"""Gives a candidate that begins its watcher, if it needs one."""


class Pace(Protocol):
    """How far prompts may go, decided again as their candidates come."""

    def bound(self, prompt_id: str) -> int:
        """The sample index before which the prompt's candidates may begin now. Asked often: must be quick."""
        ...

    def wait(self) -> None:
        """Called when nothing is in the making and nothing may begin: wait until that can have changed."""
        ...

    @property
    def expects_more(self) -> bool:
        """Whether further requests may come while others are in the making."""
        return False

    def further(self) -> Sequence[Request]:
        """The requests that have come since this was last asked. Asked often: must be quick. An engine that does not
        ask is asked again by those who have them, once it has met all that it knows of."""
        return ()


@dataclass(slots=True)
class Cancelled:
    """What is not wanted any more."""

    keys: set[CandidateKey] = field(default_factory=set)
    prompts: set[str] = field(default_factory=set)

    def __contains__(self, key: CandidateKey) -> bool:
        return key in self.keys or key.prompt_id in self.prompts

    def __len__(self) -> int:
        return len(self.keys) + len(self.prompts)


class Sampling(Iterator[Candidate]):
    """Candidates as they are finished. What is cancelled between two of them costs no further token.

    Each requested candidate comes exactly once: a cancelled one with the finish reason "cancelled", unless it had come
    to its end before. Whoever draws gives one candidate after the other, or several at a time that came together.
    """

    def __init__(self, draw: Callable[[Cancelled], Iterator[Candidate | Sequence[Candidate]]]) -> None:
        self._cancelled = Cancelled()
        self._drawn = draw(self._cancelled)
        self._at_hand: deque[Candidate] = deque()

    def __next__(self) -> Candidate:
        while not self._at_hand:
            came = next(self._drawn)
            self._at_hand.extend([came] if isinstance(came, Candidate) else came)
        return self._at_hand.popleft()

    def together(self) -> list[Candidate]:
        """The next candidate, with all that came together with it; none when all have come."""
        first = next(self, None)
        if first is None:
            return []
        came = [first, *self._at_hand]
        self._at_hand.clear()
        return came

    def cancel(self, key: CandidateKey) -> None:
        """This candidate is not wanted any more."""
        self._cancelled.keys.add(key)

    def cancel_prompt(self, prompt_id: str) -> None:
        """No further candidate of this prompt is wanted."""
        self._cancelled.prompts.add(prompt_id)

    def close(self) -> None:
        """No candidate will be taken any more: leave off what is in the making."""
        if isinstance(self._drawn, Generator):
            self._drawn.close()


class EngineKind(Protocol):
    """What an engine is opened by: its class, of which these are class methods."""

    def open(self, options: Mapping[str, Any], student: Any, folder: Path) -> Engine:
        """An engine with the recipe's options. `student` is the model that the run trains (a `Student`, of which
        nothing is loaded yet; None where the engine only writes what that is to learn from), `folder` one of its own,
        for logs. Raises a UserError where it can't work here."""
        ...

    def serves(self, options: Mapping[str, Any]) -> Collection[Kind]:
        """The kinds of trained policies that it can sample from, with these options. Raises RecipeError for options
        that it doesn't take."""
        ...


class Engine(Protocol):
    """Samples candidates. Batching, caches and retries are its own business. Its class is an EngineKind."""

    @property
    def base(self) -> Policy:
        """The policy that nothing was trained into yet."""
        ...

    @property
    def description(self) -> dict[str, object]:
        """What of the engine can change a candidate (its name, the precision); part of the generator fingerprint."""
        ...

    @property
    def rows(self) -> int:
        """How many candidates it works on at a time. To keep it busy, ask for several times as many at once."""
        ...

    @property
    def told(self) -> Mapping[str, Sequence[str]]:
        """What whoever sampled said of itself on the way, such as the model that a name stood for."""
        ...

    @property
    def tells_tokens(self) -> bool:
        """Whether its replies come as tokens, or as texts only."""
        ...

    def text(self, token_ids: Sequence[int]) -> str:
        """What a watcher sees of a reply that begins with these tokens."""
        ...

    def sample(
        self, policy: Policy, requests: Sequence[Request], watch: Watch | None = None, pace: Pace | None = None
    ) -> Sampling:
        """The requested candidates, each as soon as it is finished, in any order.

        Requests of one prompt share what can be shared, whatever their laws; they begin in the order of their sample
        indices, and no further than the pace lets them. A candidate depends on its own request, its watcher and the
        policy only, but for the rounding differences that batch shapes cause. A prompt that can't be sampled from
        yields *failed* candidates that say why.
        """
        ...

    def reply_logprobs(
        self, policy: Policy, replies: Sequence[tuple[Prompt, Candidate]], temperature: float
    ) -> list[float] | None:
        """The log-probability of each reply's tokens, in nats, under the policy at a temperature; cuts and penalties of
        sampling laws are left out. None where the engine can't tell."""
        ...

    def release(self) -> None:
        """A policy will be trained now: leave it the device, if that is shared."""
        ...

    def close(self) -> None:
        """Nothing will be sampled any more."""
        ...


CANCELLED = "it was not wanted any more"


def without_room(request: Request, prompt_tokens: int, context_length: int) -> Candidate:
    """The failed candidate of a request whose reply may not fit into the model's context behind its prompt."""
    tokens = f"{prompt_tokens} tokens, and with {request.params.max_tokens} for a reply"
    why = f"the prompt has {tokens} it does not fit into the model's context of {context_length}"
    return Candidate(request.key, "", (), "failed", None, None, why)


def stream_seed(run_seed: int, iteration: int, prompt_id: str, sample_index: int) -> int:
    """The seed of a candidate's random stream: 128 bits of a stable hash of what identifies it within a run."""
    text = f"{run_seed}\0{iteration}\0{prompt_id}\0{sample_index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
