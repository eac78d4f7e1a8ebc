"""The engine 'openai': candidates from any server that speaks OpenAI's protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rsft.engines.base import Cancelled, Pace, Request, Sampling, Watch, without_room
from rsft.engines.options import checked_options
from rsft.engines.remote.calls import Calls, Draft, Flight
from rsft.engines.remote.flights import Flights
from rsft.engines.remote.names import AdapterNames, Answer, FolderNames, HostedNames, Names, Probe
from rsft.engines.remote.options import OpenAIOptions
from rsft.errors import RecipeError
from rsft.models.student import Student
from rsft.servers import Server
from rsft.servers.endpoint import OPENAI
from rsft.types import Candidate, CandidateKey, Kind, Policy, Prompt, SamplingParams

_PROBE_TOKENS = 12
_SERVED: Mapping[str, list[Kind]] = {
    "none": ["hosted"],
    "folders": ["adapter", "weights"],
    "adapters": ["adapter"],
}


class RemoteEngine:
    """Samples by way of a server. `student` is the model that the server's policies are of; None for a model that is
    only known by its name there."""

    def __init__(self, options: OpenAIOptions, student: Student | None, server: Server) -> None:
        self.options = options
        self.student = student
        self.server = server
        self.calls = Calls(server, options, student.chat if student else None)
        self.names = self._names()

    @property
    def base(self) -> Policy:
        return self.student.base if self.student else Policy(hash=hosted_hash(self.options.model))

    @property
    def description(self) -> dict[str, object]:
        said: dict[str, object] = {"engine": "openai", "model": self.options.model, "reads": self.options.reads}
        return said | ({"extra": self.options.extra} if self.options.extra else {})

    @property
    def told(self) -> dict[str, list[str]]:
        """What the server says of itself in its answers: the models that its names stood for, its fingerprints."""
        return {key: sorted(said) for key, said in self.calls.told.items() if said}

    @property
    def rows(self) -> int:
        return int(self.server.concurrency.limit) * self.calls.together

    @property
    def tells_tokens(self) -> bool:
        return self.calls.chat is not None

    def text(self, token_ids: Sequence[int]) -> str:
        return self.calls.chat.reader().read(token_ids) if self.calls.chat else ""

    def sample(
        self, policy: Policy, requests: Sequence[Request], watch: Watch | None = None, pace: Pace | None = None
    ) -> Sampling:
        """See `Engine.sample`. Raises a ServerError where the server can't be asked any more."""
        return Sampling(lambda cancelled: self._sample(policy, requests, watch, pace, cancelled))

    def reply_logprobs(
        self, policy: Policy, replies: Sequence[tuple[Prompt, Candidate]], temperature: float
    ) -> list[float] | None:
        return None

    def release(self) -> None: ...

    def close(self) -> None:
        self.server.close()

    def _sample(
        self,
        policy: Policy,
        requests: Sequence[Request],
        watch: Watch | None,
        pace: Pace | None,
        cancelled: Cancelled,
    ) -> Iterator[Candidate]:
        fitting, failed = self._fitting(requests)
        yield from failed
        if fitting:
            name = self.names.name(policy)
            yield from Flights(self.calls, name, fitting, watch, pace, cancelled, self._fitting).run()

    def _fitting(self, requests: Sequence[Request]) -> tuple[list[Request], list[Candidate]]:
        """The requests that the model's context has room for, as far as that is known here, and the others, failed."""
        chat, student = self.calls.chat, self.student
        if chat is None or student is None or self.options.reads == "messages":
            return list(requests), []
        prompts = {one.prompt.id: one.prompt for one in requests}
        tokens = {key: len(chat.prompt_ids(prompt.messages)) for key, prompt in prompts.items()}
        fitting, failed = [], []
        for one in requests:
            if tokens[one.prompt.id] + one.params.max_tokens <= student.context_length:
                fitting.append(one)
            else:
                failed.append(without_room(one, tokens[one.prompt.id], student.context_length))
        return fitting, failed

    def _names(self) -> Names:
        if self.options.policies == "none" or self.student is None:
            return HostedNames(self.options.model)
        if self.options.policies == "folders":
            return FolderNames(self.student, self.options.model, Probe(self._answer))
        return AdapterNames(self.server, self.student, self.options.model, Probe(self._answer))

    def _answer(self, name: str, prompt: Prompt) -> Answer:
        """What a model of this name answers greedily."""
        law = SamplingParams(temperature=0, max_tokens=_PROBE_TOKENS)
        flight = Flight([Request(CandidateKey(0, prompt.id, 0, name), prompt, 0, law)])
        found: list[Candidate] = []
        self.server.finish(self.calls.draw(name, flight, None, found.append))
        told = flight.drafts.get(0) or Draft()
        return found[0].text, tuple(told.logprobs)


class OpenAIEngine(RemoteEngine):
    """Samples from a server that runs, wherever that is."""

    @classmethod
    def serves(cls, options: Mapping[str, Any]) -> Collection[Kind]:
        return _SERVED[checked_options(OpenAIOptions, "openai", options).policies]

    @classmethod
    def open(cls, options: Mapping[str, Any], student: Student | None, folder: Path) -> OpenAIEngine:
        checked = checked_options(OpenAIOptions, "openai", options)
        if checked.policies == "none" and student is not None and not student.is_here:
            student = None  # a model that only its host has
        if checked.reads != "messages" and student is None:
            raise RecipeError(
                f"The engine 'openai' can't be used: reads is {checked.reads}, and the tokenizer of '{checked.model}' "
                "is not at hand. Leave reads out; or, of the run's own model, set model to its files."
            )
        return cls(checked, student, Server(checked))

    def _sample(
        self,
        policy: Policy,
        requests: Sequence[Request],
        watch: Watch | None,
        pace: Pace | None,
        cancelled: Cancelled,
    ) -> Iterator[Candidate]:
        if self.options.url == OPENAI:
            for law in {request.params for request in requests}:
                _refuse_what_openai_lacks(law)
        return super()._sample(policy, requests, watch, pace, cancelled)


def hosted_hash(name: str) -> str:
    """The hash of a policy that is only known by its name at a host."""
    return hashlib.sha256(f"hosted\0{name}".encode()).hexdigest()[:16]


def _refuse_what_openai_lacks(law: SamplingParams) -> None:
    idle = SamplingParams()
    for key in ("top_k", "min_p", "repetition_penalty"):
        if getattr(law, key) != getattr(idle, key):
            raise RecipeError(
                f"sampling.{key} is {getattr(law, key)}, and OpenAI's API has no such thing: leave it out."
            )
