"""A crew of Ray's actors: started, told, asked, given up and started again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rsft.cluster.actor import end_for_good, started
from rsft.cluster.dashboard import run_name
from rsft.cluster.engine import Came, Joined, Left
from rsft.cluster.leases import News
from rsft.cluster.luggage import Luggage
from rsft.cluster.policies import Sent
from rsft.cluster.resources import asked_of_ray, raised, said_of
from rsft.cluster.roll import last_number
from rsft.cluster.worker import Facts, Station, Taken
from rsft.config.cluster import ClusterSection, WorkersSection
from rsft.engines.base import Watch
from rsft.errors import RunError, UserError
from rsft.machines.connection import connect, disconnect
from rsft.machines.room import Waiting, bundle_of
from rsft.types import Policy, Prompt

# So many deaths in a row, of each worker that is wanted, without a candidate from any: then it is not the machines.
_DEATHS = 3
# How long after a death the next worker is started, from one death in a row to the next.
_REST_SECONDS, _LONGEST_REST = 0.5, 30.0
# A driver that has not listened for so long was away.
_AWAY_SECONDS = 5.0
# How long one waits for workers to close what they have.
_LEAVE_SECONDS = 10.0
# How often one looks whether machines have come.
_MEASURE_SECONDS = 10.0


@dataclass(slots=True, eq=False)
class _Hired:
    """An actor, and what its driver knows of it."""

    name: str
    actor: Any
    heard_at: float
    facts: Facts | None = None
    is_asked: bool = False
    """Whether it has still to say what came."""


class RayCrew:
    """A `Crew` of actors. Those that die are replaced, wherever Ray finds room; so are those that say nothing."""

    def __init__(self, cluster: ClusterSection, wanted: WorkersSection, station: Station, logs: Path) -> None:
        """`logs` is the folder, in that of the run, where what workers say is kept. Raises RunError where there is no
        such cluster."""
        self._cluster = cluster
        self._logs = logs
        self._run = run_name(logs.parent)
        connect(cluster.ray)
        import ray

        logs.mkdir(parents=True, exist_ok=True)
        for old in logs.glob(".here-*"):  # of a run that was killed
            old.unlink(missing_ok=True)
        self._token = logs.absolute() / f".here-{secrets.token_hex(8)}"
        self._token.touch()
        self._station = Luggage.of(replace(station, token=str(self._token)))
        self._wanted = wanted
        self._ranks = _ranks(station.options.get("arguments"))
        self._resources, self._count, self._threads = asked_of_ray(wanted, ranks=self._ranks)
        self._measured_at = time.monotonic()
        self._hired: dict[str, _Hired] = {}
        self._asked: dict[Any, _Hired] = {}
        self._joined: list[Joined] = []
        self._untold: list[Left | Came] = []
        """Those that went, and what was said, while nobody listened."""
        self._last_heard = time.monotonic()
        self._listening_since = 0.0
        self._number = 0
        self._drawing: tuple[Sent, Any, Prompt] | None = None
        self._sent: Sent | None = None
        self._names = last_number(logs)
        self._let_go: list[str] = []
        self._deaths = 0
        self._said: list[str] = []
        self._rest_until = 0.0
        self._waiting = Waiting(ray, bundle_of(self._resources), "cluster.engine")
        self._first: Facts | None = None
        self._hire()

    @property
    def facts(self) -> Facts:
        while self._first is None:
            self._wait()
        return self._first

    @property
    def size(self) -> int:
        return self._count

    def begin(self, policy: Policy, watch: Watch | None, witness: Prompt) -> None:
        import ray

        self._number += 1
        if self._sent is None or self._sent.policy != policy:
            self._sent = Sent(policy)
        self._drawing = self._sent, ray.put(Luggage.of(watch)) if watch is not None else None, witness
        self._joined = [self._begin(hired) for hired in self._hired.values() if hired.facts is not None]

    def tell(self, worker: str, news: News) -> None:
        if (hired := self._hired.get(worker)) is not None:
            self._tell(hired, "tell", self._number, news)

    def hear(self, seconds: float) -> Sequence[Joined | Left | Came]:
        untold, self._untold = self._untold, []
        joined, self._joined = self._joined, []
        return [*untold, *joined, *self._hear(0.0 if untold or joined else seconds)]

    def end(self) -> None:
        self._drawing = None
        for hired in self._hired.values():
            self._tell(hired, "end", self._number)

    def ask(self, method: str, *arguments: Any) -> Any:
        import ray

        while True:
            assert self.facts
            able = [hired for hired in self._hired.values() if hired.facts is not None]
            if not able:
                self._wait()
                continue
            said = [self._for(able[0], one) if isinstance(one, Policy) else one for one in arguments]
            try:
                answer = self._call(able[0], "do", "besides", method, *said)
                if self._answers(able[0], answer):
                    return ray.get(answer)
                self._untold += self._gone(able[0], "it said nothing")
            except ray.exceptions.RayError as error:
                if (cause := raised(error)) is not None:
                    raise cause from None
                self._untold += self._gone(able[0], said_of(error))

    def release(self) -> None:
        self._have_all(self._cluster.patience_seconds, "do", "release")

    def dismiss(self) -> None:
        import ray

        self._have_all(_LEAVE_SECONDS, "leave")
        for hired in self._hired.values():
            ray.kill(hired.actor)
        self._let_go += self._hired
        self._hired.clear()
        self._asked.clear()

    def close(self) -> None:
        self.dismiss()
        self._token.unlink(missing_ok=True)
        disconnect()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _have_all(self, seconds: float, method: str, *arguments: Any) -> None:
        """Have all that are there do something, and wait for them for so long at most."""
        import ray

        calls = [self._call(hired, method, "besides", *arguments) for hired in self._hired.values() if hired.facts]
        if calls:
            ray.wait(calls, num_returns=len(calls), timeout=seconds)

    def _hire(self) -> None:
        """Start the workers that are missing. Those for which there is no room yet come when there is."""
        now = time.monotonic()
        if now < self._rest_until:
            return
        if self._wanted.workers is None and now - self._measured_at > _MEASURE_SECONDS:
            self._measured_at = now  # machines may have come
            self._count = max(self._count, asked_of_ray(self._wanted, ranks=self._ranks)[1])
        while len(self._hired) < self._count:
            name = self._name()
            actor = started(self._station, self._threads, self._run, name, self._resources)
            hired = _Hired(name, actor, now)
            self._hired[name] = hired
            self._asked[actor.facts.remote()] = hired

    def _name(self) -> str:
        """What the next worker is called: like one that was let go, if there is any, since it comes back as that."""
        if self._let_go:
            return self._let_go.pop(0)
        self._names += 1
        return f"worker-{self._names}"

    def _begin(self, hired: _Hired) -> Joined:
        assert self._drawing is not None
        assert hired.facts is not None
        sent, *rest = self._drawing
        sent = self._for(hired, sent.policy)
        # Heard of only where it fails: the policy may not arrive.
        self._asked[self._call(hired, "begin", "told", self._number, sent, *rest)] = hired
        if not hired.is_asked:
            self._ask(hired)
        hired.heard_at = time.monotonic()
        return Joined(hired.name, hired.facts)

    def _for(self, hired: _Hired, policy: Policy) -> Sent:
        """A policy as a worker is told it: with its bytes in Ray's object store, put there once, for those that do not
        see this disk."""
        import ray

        sent = self._sent if self._sent is not None and self._sent.policy == policy else Sent(policy)
        if policy.folder is None or sent.manifest is not None or (hired.facts is not None and hired.facts.sees):
            return sent
        self._sent = sent.packed(ray.put)
        return self._sent

    def _answers(self, hired: _Hired, answer: Any) -> bool:
        """Wait for an answer, for as long as the worker says anything at all; one that does not is ended."""
        import ray

        patience = self._cluster.patience_seconds
        while not ray.wait([answer], timeout=patience)[0]:
            if not ray.wait([hired.actor.facts.remote()], timeout=patience)[0]:
                end_for_good(hired.actor, hired.facts)
                return False
        return True

    def _wait(self) -> None:
        """Wait for somebody while nothing is drawn."""
        self._untold += [heard for heard in self._hear(1.0) if not isinstance(heard, Joined)]

    def _hear(self, seconds: float) -> list[Joined | Left | Came]:
        import ray

        self._hire()
        heard: list[Joined | Left | Came] = []
        asked = list(self._asked)
        if not asked:  # all are dead, and it is too soon for others
            time.sleep(seconds)
        elif ray.wait(asked, num_returns=1, timeout=seconds)[0]:
            for ref in ray.wait(asked, num_returns=len(asked), timeout=0)[0]:
                if (hired := self._asked.pop(ref, None)) is not None:  # it may be gone by another answer
                    heard += self._answered(hired, ref)
        now = time.monotonic()
        if now - self._last_heard > seconds + _AWAY_SECONDS:
            self._listening_since = now  # nobody was silent while nobody listened
        self._last_heard = now
        for hired in list(self._hired.values()):
            silent = now - max(hired.heard_at, self._listening_since)
            if hired.facts is not None and self._drawing is not None and silent > self._cluster.patience_seconds:
                end_for_good(hired.actor, hired.facts)
                heard += self._gone(hired, f"it said nothing for {silent:.0f} s")
        missing = sum(hired.facts is None for hired in self._hired.values())
        self._waiting.look(f"{missing} of {self._count} workers have" if missing else None)
        return heard

    def _answered(self, hired: _Hired, ref: Any) -> Sequence[Joined | Left | Came]:
        """What one worker's answer comes to."""
        import ray

        if self._hired.get(hired.name) is not hired:
            return []
        try:
            said = ray.get(ref)
        except ray.exceptions.RayError as error:
            cause = raised(error)
            return self._gone(hired, said_of(error)) if cause is None else self._failed(hired, cause)
        hired.heard_at = time.monotonic()
        if isinstance(said, Facts):
            hired.facts = said
            self._first = self._first or said
            self._refuse_another(said)
            return [self._begin(hired)] if self._drawing is not None else []
        if said is None:  # it has begun
            return []
        assert isinstance(said, Taken)
        hired.is_asked = False
        if self._drawing is not None:
            self._ask(hired)
        if self._drawing is None or said.drawing != self._number:
            return [Came(hired.name, replace(said, candidates=()))]  # its logs, and its proof
        if said.error is not None:
            return [Came(hired.name, said), *self._failed(hired, said.error)]
        if said.candidates:
            self._deaths = 0
            self._said.clear()
        return [Came(hired.name, said)]

    def _failed(self, hired: _Hired, error: UserError) -> list[Left]:
        """A worker's engine gave up: maybe another one's does better, on another machine."""
        import ray

        ray.kill(hired.actor)
        self._said.append(str(error))
        left = self._gone(hired, str(error))
        as_often = len(self._said) >= max(2, self._count)
        if as_often and len(set(self._said)) == 1:
            raise error  # it is not the machine
        return left

    def _gone(self, hired: _Hired, why: str) -> list[Left]:
        del self._hired[hired.name]
        self._asked = {ref: asked for ref, asked in self._asked.items() if asked is not hired}
        where = f" on {hired.facts.host}" if hired.facts else ""
        self._deaths += 1
        if self._deaths >= _DEATHS * self._count:
            raise RunError(
                f"{self._deaths} workers died one after the other without a candidate; the last one{where}: {why}. "
                f"What they logged is in {self._logs}; what was drawn before is kept: go on with rsft resume."
            )
        rest = _REST_SECONDS * 2 ** (self._deaths // max(1, self._count))
        self._rest_until = time.monotonic() + min(rest, _LONGEST_REST)
        return [Left(hired.name, why)]

    def _refuse_another(self, facts: Facts) -> None:
        """Raise RunError for a worker whose engine is not the first one's: its candidates would be of another kind."""
        assert self._first is not None
        for what in ("base", "description"):
            ours, theirs = getattr(self._first, what), getattr(facts, what)
            if ours != theirs:
                raise RunError(
                    f"The workers are not alike. On {self._first.host} the engine's {what} is {ours}, on {facts.host} "
                    f"{theirs}: give all machines the same model, and of one kind (cluster.engine.resources)."
                )

    def _ask(self, hired: _Hired) -> None:
        hired.is_asked = True
        self._asked[self._call(hired, "take", "asked")] = hired

    def _tell(self, hired: _Hired, method: str, *arguments: Any) -> None:
        self._call(hired, method, "told", *arguments)

    def _call(self, hired: _Hired, method: str, group: str, *arguments: Any) -> Any:
        return getattr(hired.actor, method).options(concurrency_group=group).remote(*arguments)


def _ranks(arguments: Any) -> int:
    """How many GPUs a server of its own spreads a model over."""
    said = arguments if isinstance(arguments, dict) else {}
    return int(said.get("tensor_parallel_size", 1)) * int(said.get("pipeline_parallel_size", 1))
