"""A new policy on its way to the workers, and the proof that it came: each draws with the weights that it should."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from rsft.engines.base import Engine
from rsft.errors import RunError
from rsft.models.references import cache_folder
from rsft.models.student import Student
from rsft.store.shipping import Manifest, fetched, manifest_of, parts
from rsft.types import Candidate, CandidateKey, Policy, Prompt

# Log-probabilities of one reply under the same weights agree so well, whatever the machine: relative, and in nats.
_ALIKE, _ALIKE_NATS = 0.02, 0.5


@dataclass(frozen=True, slots=True)
class Sent:
    """A policy, and, where a worker does not see its files on the driver's disk, what they are and what their bytes can
    be had by."""

    policy: Policy
    manifest: Manifest | None = None
    parts: Any = None

    def packed(self, put: Callable[[bytes], Any]) -> Sent:
        """The same for workers that do not see its files: each part of them is put where they can be had."""
        assert self.policy.folder is not None
        where = self.policy.folder.parent
        manifest = manifest_of(where, [self.policy.folder.name])
        return replace(self, manifest=manifest, parts=[put(part) for part in parts(where, manifest)])

    def arrived(self, receive: Callable[[Any], Iterable[bytes]]) -> Policy:
        """The policy with its files on this machine's disk: checked, and fetched once for all workers there."""
        if self.manifest is None:
            return self.policy
        assert self.policy.folder is not None
        cache = cache_folder() / "policies"
        # A folder around it, as in a run folder: what is made of a policy lies beside it, and goes with it.
        folder = fetched(cache, self.policy.hash, self.manifest, lambda: receive(self.parts))
        here = folder / self.policy.folder.name
        return replace(self.policy, **{"adapter" if self.policy.adapter else "weights": str(here)})


@dataclass(frozen=True, slots=True)
class Proof:
    """The log-probability, in nats, that an engine gives one reply under a policy."""

    policy: str
    logprob: float


def proof(engine: Engine, student: Student | None, policy: Policy, witness: Prompt) -> Proof | None:
    """How likely the policy finds it that a prompt's last turn is echoed; None of an engine that can't tell, and of a
    policy that has no weights of its own."""
    has_weights = policy == engine.base or policy.folder is not None
    if student is None or not student.is_here or not has_weights:
        return None
    tokens = tuple(student.chat.reply_ids(witness.messages[-1].content))
    echo = Candidate(CandidateKey(0, witness.id, 0, "proof"), "", tokens, "stop", None, None)
    found = engine.reply_logprobs(policy, [(witness, echo)], 1.0)
    return Proof(policy.hash, found[0]) if found else None


class Proofs:
    """What workers have proven, all by the same reply: that each draws with the weights of the policy that it was told
    to draw from, and not still with those of another."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[str, float]] = {}
        self._by: dict[tuple[str, float], str] = {}

    def add(self, worker: str, host: str, said: Proof) -> None:
        """Raises RunError where a worker's weights are not those that others have for the policy, or are the very ones
        that it had for another."""
        other, theirs = self._of.setdefault(said.policy, (host, said.logprob))
        alike = math.isclose(theirs, said.logprob, rel_tol=_ALIKE, abs_tol=_ALIKE_NATS)
        if not alike:
            raise RunError(
                f"The workers do not draw from the same policy: of one reply, {other} says {theirs:.3f} nats and "
                f"{host} {said.logprob:.3f} (policy {said.policy}). See that all machines hold the same model."
            )
        before = self._by.setdefault((worker, said.logprob), said.policy)
        if before != said.policy:
            raise RunError(
                f"{worker} on {host} finds a reply just as likely under policy {said.policy} as under {before}: the "
                "new weights have not reached it. Go on with rsft resume, which starts it anew."
            )
