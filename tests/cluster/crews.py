"""Workers in threads of this process, in the place of those of a cluster: quick, and as unreliable as one likes."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rsft.cluster.engine import Came, Joined, Left
from rsft.cluster.leases import News
from rsft.cluster.worker import Facts, Station, Worker
from rsft.engines.base import EngineKind, Watch
from rsft.types import Policy, Prompt


def station(kind: EngineKind, **options: Any) -> Station:
    return Station(kind, options, None, "auto", False, None, ".", "")


class ThreadCrew:
    """A `Crew` of so many workers. Each time that somebody listens, `fate` may name one of them to die."""

    def __init__(
        self, count: int, at: Station, fate: Callable[[Sequence[str]], str | None] = lambda _: None, *, late: float = 0
    ) -> None:
        self.at = at
        self.fate = fate
        self.late = late
        self.deaths = 0
        self.workers: dict[str, Worker] = {}
        self._names = 0
        self._let_go: list[str] = []
        self._number = 0
        self._told: list[Joined | Left | Came] = []
        self._policy: tuple[Policy, Watch | None, Prompt] | None = None
        self.size = count
        self._hire()
        self._facts = next(iter(self.workers.values())).facts()

    @property
    def facts(self) -> Facts:
        return self._facts

    def begin(self, policy: Policy, watch: Watch | None, witness: Prompt) -> None:
        self._number += 1
        self._policy = policy, watch, witness
        self._told = [self._begin(name) for name in self.workers]

    def tell(self, worker: str, news: News) -> None:
        if worker in self.workers:
            self.workers[worker].tell(self._number, news)

    def hear(self, seconds: float) -> Sequence[Joined | Left | Came]:
        heard, self._told = self._told, []
        if (doomed := self.fate(list(self.workers))) is not None:
            dying = self.workers.pop(doomed)
            dying.end(self._number)
            dying.close()
            self.deaths += 1
            heard.append(Left(doomed, "it was doomed"))
        self._hire()
        heard, self._told = [*heard, *self._told], []
        for name, worker in self.workers.items():
            taken = worker.take(0.0005)
            assert taken.error is None, taken.error
            if taken.drawing == self._number:
                heard.append(Came(name, taken))
        return heard

    def end(self) -> None:
        self._policy = None
        for worker in self.workers.values():
            worker.end(self._number)

    def ask(self, method: str, *arguments: Any) -> Any:
        return getattr(next(iter(self.workers.values())), method)(*arguments)

    def release(self) -> None:
        for worker in self.workers.values():
            worker.release()

    def dismiss(self) -> None:
        self.close()
        self._let_go += self.workers
        self.workers.clear()

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()

    def _hire(self) -> None:
        while len(self.workers) < self.size:
            if not self._let_go:
                self._names += 1
                self._let_go.append(f"worker-{self._names}")
            name = self._let_go.pop(0)
            self.workers[name] = Worker(self.at, Path(tempfile.mkdtemp()))
            if self._policy is not None:
                self._told.append(self._begin(name))

    def _begin(self, name: str) -> Joined:
        assert self._policy is not None
        self.workers[name].begin(self._number, *self._policy)
        return Joined(name, self.workers[name].facts())


def doom(seed: int, one_in: int, most: int) -> Callable[[Sequence[str]], str | None]:
    """Kills a worker now and then, so many in all."""
    chance = random.Random(seed)
    left = most

    def fate(names: Sequence[str]) -> str | None:
        nonlocal left
        if not names or left == 0 or chance.randrange(one_in):
            return None
        left -= 1
        return chance.choice(list(names))

    return fate
