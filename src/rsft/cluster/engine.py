"""An engine that is many: workers on a cluster, each with one of its own, that lease what is to be drawn."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rsft.cluster.leases import Leases, News
from rsft.cluster.policies import Proofs
from rsft.cluster.roll import Roll
from rsft.cluster.worker import Facts, Taken
from rsft.engines.base import Cancelled, Pace, Request, Sampling, Watch
from rsft.models.student import Student
from rsft.types import Candidate, Policy, Prompt

# How long one waits for a word of some worker before one looks what else there is to do.
_LISTEN_SECONDS = 0.05
# The same where nothing is in the making.
_IDLE_SECONDS = 0.005
# When Python looks for cycles meanwhile.
_SELDOM = (100_000, 50, 50)
# Asking the pace about all that is leased may take this share of the time.
_LOOKING_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker has come."""

    worker: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class Left:
    """A worker is gone, and why."""

    worker: str
    why: str


@dataclass(frozen=True, slots=True)
class Came:
    """A worker's answer."""

    worker: str
    taken: Taken


class Crew(Protocol):
    """Workers somewhere, of whom some may come and others die at any time."""

    @property
    def facts(self) -> Facts:
        """What the first worker says of itself; waits until there is one. Raises a UserError where none can be had."""
        ...

    @property
    def size(self) -> int:
        """How many workers there are now, or are wanted, whichever is more."""
        ...

    def begin(self, policy: Policy, watch: Watch | None, witness: Prompt) -> None:
        """A drawing begins. All that come from now on are told of it, those that are there among them. `witness` is
        the prompt by which they prove the policy's weights."""
        ...

    def tell(self, worker: str, news: News) -> None:
        """Tell one worker; nothing comes of it if that is gone."""
        ...

    def hear(self, seconds: float) -> Sequence[Joined | Left | Came]:
        """What workers said, as soon as one has, or after so many seconds. After `begin`, those that are there join
        once more. Raises a UserError where no worker can be had any more."""
        ...

    def end(self) -> None:
        """The drawing is over, whoever is still at it."""
        ...

    def ask(self, method: str, *arguments: Any) -> Any:
        """What one of the workers answers; another one is asked where that dies over it."""
        ...

    def release(self) -> None:
        """Have all workers leave their devices to training."""
        ...

    def dismiss(self) -> None:
        """Let all workers go, with what they hold of the cluster, until somebody draws again. Those that come then are
        called like them."""
        ...

    def close(self) -> None:
        """No worker is wanted any more."""
        ...


class ClusterEngine:
    """Samples by way of workers. See `Engine` for what its methods promise; the pace and the watchers are the run's,
    asked by the thread that takes the candidates alone, so that budgets are those of the whole run."""

    def __init__(self, crew: Crew, student: Student | None, logs: Path) -> None:
        """The folder `logs` comes to hold what workers log, and who they are."""
        self.crew = crew
        self.roll = Roll(logs)
        self._student = student
        self._told: dict[str, dict[str, None]] = {}
        self._witness: Prompt | None = None
        self._proofs = Proofs()

    @property
    def base(self) -> Policy:
        return self.crew.facts.base

    @property
    def description(self) -> dict[str, object]:
        return self.crew.facts.description

    @property
    def rows(self) -> int:
        return self.crew.facts.rows * self.crew.size

    @property
    def told(self) -> Mapping[str, Sequence[str]]:
        return {key: sorted(said) for key, said in self._told.items()}

    @property
    def tells_tokens(self) -> bool:
        return self.crew.facts.tells_tokens

    def text(self, token_ids: Sequence[int]) -> str:
        if self._student is not None and self._student.is_here:
            return self._student.chat.reader().read(token_ids)
        return str(self.crew.ask("text", list(token_ids)))

    def sample(
        self, policy: Policy, requests: Sequence[Request], watch: Watch | None = None, pace: Pace | None = None
    ) -> Sampling:
        """See `Engine.sample`. Raises a UserError where no worker can be had any more."""
        return Sampling(lambda cancelled: self._sample(policy, requests, watch, pace, cancelled))

    def reply_logprobs(
        self, policy: Policy, replies: Sequence[tuple[Prompt, Candidate]], temperature: float
    ) -> list[float] | None:
        said: list[float] | None = self.crew.ask("reply_logprobs", policy, list(replies), temperature)
        return said

    def release(self) -> None:
        self.crew.release()

    def dismiss(self) -> None:
        """Leave to others what the workers hold of the cluster, until somebody samples again."""
        self.crew.dismiss()
        self.roll.dismissed()

    def close(self) -> None:
        self.crew.close()

    def _sample(
        self,
        policy: Policy,
        requests: Sequence[Request],
        watch: Watch | None,
        pace: Pace | None,
        cancelled: Cancelled,
    ) -> Iterator[Sequence[Candidate]]:
        if not requests:
            return
        leases = Leases(requests, pace.bound if pace is not None else None)
        heeded, next_look = 0, 0.0
        self._witness = self._witness or requests[0].prompt
        with _rarely_collected(), self._drawing(leases, policy, watch, self._witness):
            while leases.owed:
                if len(cancelled) != heeded:
                    heeded = len(cancelled)
                    yield leases.cancel(cancelled)
                    continue
                now = time.monotonic()
                if now >= next_look:
                    leases.look()
                    spent = time.monotonic() - now
                    next_look = now + spent / _LOOKING_SHARE
                for worker, news in leases.news(now):
                    self.crew.tell(worker, news)
                if pace is not None and leases.workers and not leases.in_the_making:
                    pace.wait()
                    next_look = 0.0
                idle = leases.workers and not leases.in_the_making
                self.roll.write()
                for heard in self.crew.hear(_IDLE_SECONDS if idle else _LISTEN_SECONDS):
                    yield self._heard(leases, heard)

    @contextmanager
    def _drawing(self, leases: Leases, policy: Policy, watch: Watch | None, witness: Prompt) -> Iterator[None]:
        """One drawing of the crew's, which ends however this does."""
        try:
            self.crew.begin(policy, watch, witness)
            yield
        finally:
            self.crew.end()
            self.roll.rest(leases.overtaken)

    def _heard(self, leases: Leases, heard: Joined | Left | Came) -> Sequence[Candidate]:
        if isinstance(heard, Joined):
            self.roll.joined(heard.worker, heard.facts.host, heard.facts.pid)
            leases.join(heard.worker, heard.facts.rows)
            return ()
        if isinstance(heard, Left):
            self.roll.left(heard.worker, heard.why)
            return leases.leave(heard.worker)
        self.roll.logged(heard.worker, heard.taken.logs)
        if heard.taken.proof is not None:
            self._proofs.add(heard.worker, self.roll.entries[heard.worker].host, heard.taken.proof)
        for key, said in heard.taken.told.items():
            self._told.setdefault(key, {}).update(dict.fromkeys(said))
        first = leases.came(heard.worker, heard.taken.candidates, time.monotonic())
        if first:
            self.roll.came(heard.worker, len(first), sum(len(candidate.token_ids) for candidate in first))
        return first


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """Look for reference cycles seldom: of millions of candidates none is part of one, and Python would look through
    all of them again and again, for a fifth of the time."""
    usual = gc.get_threshold()
    if usual == _SELDOM:  # another engine draws as well, and sees to it
        yield
        return
    gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
