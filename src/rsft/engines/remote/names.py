"""Under what name a server knows a policy, and how it comes to know it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from rsft.errors import ModelError, ServerError
from rsft.models.merging import whole_model
from rsft.models.network import check_there
from rsft.models.student import Student
from rsft.servers import Server, Unanswered
from rsft.types import Message, Policy, Prompt

# Adapters that a server holds at most; the oldest make way.
_MOST_ADAPTERS = 4

_log = logging.getLogger("rsft")


def _question(text: str) -> Prompt:
    turns = (Message("user", text),)
    return Prompt("probe", turns, turns)


_PROBES = [_question(text) for text in ("Hello! Where is my parcel?", "Tell me about yourself.", "What can you do?")]


class Names(Protocol):
    """Makes a server's model of a policy."""

    def name(self, policy: Policy) -> str:
        """The policy's name at the server, which serves it from now on. Raises a UserError where it can't."""
        ...

    def renew(self) -> None:
        """The server has forgotten what it was told: tell it again, at the next call of `name` at the latest."""
        ...


class HostedNames:
    """The base's name, and those that fine-tuning at the host gave."""

    def __init__(self, base: str) -> None:
        self._base = base

    def name(self, policy: Policy) -> str:
        if policy.folder is not None:
            raise ServerError(
                "A policy was trained here, and the engine 'openai' is not told how its server gets it: "
                "engine.policies is none. The choices are folders, and adapters."
            )
        return policy.hosted or self._base

    def renew(self) -> None: ...


class FolderNames:
    """Each policy as a whole model in a folder, whose path is its name: transformers serve loads what it is asked for.

    A policy that is an adapter is merged into the base's weights first, beside the adapter.
    """

    def __init__(self, student: Student, base: str, probe: Probe) -> None:
        self.student = student
        self._base = base
        self._probe = probe

    def name(self, policy: Policy) -> str:
        check_there(policy)
        if policy.folder is None:
            return self._base
        folder = str(whole_model(self.student, policy))
        self._probe.prove(folder, self._base)
        return folder

    def renew(self) -> None: ...


class AdapterNames:
    """Each policy as a LoRA adapter that the server loads under a name that no other policy ever had: what a server has
    cached for a name belongs to one set of weights for good."""

    def __init__(self, server: Server, student: Student, base: str, probe: Probe) -> None:
        self.server = server
        self.student = student
        self.base = base
        self.probe = probe
        self._loaded: dict[str, Policy] = {}

    def name(self, policy: Policy) -> str:
        check_there(policy)
        if policy.folder is None:
            return self.base
        name = f"policy-{policy.hash}"
        if name in self._loaded:
            self._loaded[name] = self._loaded.pop(name)  # the newest is last
            return name
        self._load(name, policy)
        self.probe.prove(name, self.base)
        while len(self._loaded) > _MOST_ADAPTERS:
            oldest = next(iter(self._loaded))
            del self._loaded[oldest]
            try:
                self.server.tell("/unload_lora_adapter", {"lora_name": oldest})
            except Unanswered as error:  # it holds one more, or has forgotten it: nobody is harmed
                _log.warning("the server does not unload the adapter '%s': %s", oldest, error)
        return name

    def renew(self) -> None:
        """Load again what was loaded. (For the thread that revives the server: requests wait until it is done.)"""
        for name, policy in list(self._loaded.items()):
            self._load(name, policy)

    def _load(self, name: str, policy: Policy) -> None:
        try:
            self.server.tell("/load_lora_adapter", {"lora_name": name, "lora_path": str(policy.adapter)})
        except Unanswered as error:
            if "already" not in str(error):  # an earlier run has, under the name of these very weights
                raise ServerError(
                    f"The server {self.server.endpoint.url} does not load the adapter {policy.adapter}: {error}. It "
                    "must run with --enable-lora, a --max-lora-rank that is high enough, and "
                    "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, and see this disk."
                ) from None
        self._loaded[name] = policy


Answer = tuple[str, tuple[float, ...]]
"""A text, and the log-probabilities of its tokens where the server tells them."""


class Probe:
    """Proves that a name stands for other weights than the base's: the same questions, asked greedily and one by one of
    both, are not answered alike to the last digit."""

    def __init__(self, ask: Callable[[str, Prompt], Answer]) -> None:
        self._ask = ask
        self._proven: set[str] = set()
        self._base: list[Answer] = []

    def remember(self, base: str) -> None:
        """Ask the base, as long as it is served."""
        self._base = self._base or [self._ask(base, prompt) for prompt in _PROBES]

    @property
    def remembers(self) -> bool:
        """Whether the base was asked."""
        return bool(self._base)

    def prove(self, name: str, base: str) -> None:
        """Raise ModelError where the answers are alike. Where only texts can be compared, alike is a warning: weights
        that have hardly moved may say the same."""
        if name in self._proven:
            return
        try:
            self.remember(base)
            found = [self._ask(name, prompt) for prompt in _PROBES]
        except Unanswered as error:
            raise ServerError(f"The server does not serve the policy '{name}': {error}") from None
        if found == self._base:
            if any(logprobs for _, logprobs in found):
                raise ModelError(
                    f"The server answers for the policy '{name}' exactly as for the base model: the new weights are "
                    "not served. Start it anew and go on with rsft resume; what was drawn and trained is kept."
                )
            _log.warning("the server's policy '%s' answers %d questions as the base does", name, len(found))
        self._proven.add(name)
