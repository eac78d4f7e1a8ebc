"""A scorer that is many: copies of it in processes of a Ray cluster, each of which scores a batch at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from typing import Any

from pydantic import PrivateAttr

from rsft.cluster.dashboard import Counted, scorer_name
from rsft.cluster.luggage import Luggage
from rsft.cluster.orphans import end_soon, end_with_parent
from rsft.cluster.resources import asked_of_ray, raised, said_of
from rsft.config.cluster import ClusterSection, WorkersSection
from rsft.errors import RunError
from rsft.machines.connection import connect, disconnect
from rsft.machines.room import Waiting, bundle_of
from rsft.scorers import Baseline, Combined, Scorer, run_scorer
from rsft.scorers.model import ModelScorer
from rsft.types import Reply, Score

_log = logging.getLogger("rsft")

# So many deaths in a row, of each copy, without a score from any: then it is not the machines.
_DEATHS = 3
# So much of a core a copy holds that does not say what it takes: several on one machine leave room for the engine.
_SHARE = 0.1
# How often one looks whether there is room for one.
_LOOK_SECONDS = 5.0
# How long one waits for copies that are let go to hear of it.
_LEAVE_SECONDS = 5.0


class _Actor:
    """One copy of a scorer."""

    def __init__(self, luggage: Luggage, home: str, threads: int, run: str, name: str) -> None:
        end_with_parent()
        os.environ["OMP_NUM_THREADS"] = str(threads)
        if os.path.isdir(home):
            os.chdir(home)
        self._scorer: Scorer = luggage.open()
        self._scorer.prepare()
        self._counted = Counted(run, name, "rsft_scores")

    def fingerprint(self) -> str:
        return self._scorer.fingerprint

    def leave(self) -> None:
        """Nothing will be scored any more."""
        self._scorer.close()
        end_soon()

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        scores = run_scorer(self._scorer, replies)
        self._counted.add(rsft_scores=len(scores))
        return scores


class _Copies:
    """The copies of one scorer. A copy that dies over a batch, or takes too long, is replaced."""

    def __init__(self, run: str, name: str, scorer: Scorer, cluster: ClusterSection, max_seconds: float) -> None:
        connect(cluster.ray)
        self.run, self.name = run, name
        self._max_seconds = max_seconds
        wanted = cluster.scorers.get(name, WorkersSection())
        self._resources, self.count, threads = asked_of_ray(wanted, gpus=wanted.gpus or 0, share=_SHARE)
        self._made_of = Luggage.of(scorer), os.getcwd(), threads
        self._idle = SimpleQueue[Any]()
        self._all: list[Any] = []
        self._ready: set[int] = set()
        self._deaths = 0
        self._is_over = False
        for _ in range(self.count):
            self._idle.put(self._begun())

    def call(self, method: str, *arguments: Any) -> Any:
        """What a copy answers; None where it took longer than it may. Raises the UserError that it raised, or RunError
        where one after the other dies."""
        import ray

        copy = self._idle.get() or self._begun()
        try:
            while True:
                try:
                    self._await(copy)
                    said = ray.get(getattr(copy, method).remote(*arguments), timeout=self._max_seconds)
                    self._deaths = 0
                    return said
                except ray.exceptions.GetTimeoutError:
                    copy = self._replaced(copy)
                    return None
                except ray.exceptions.RayError as error:
                    if self._is_over:
                        raise RunError(f"The scorer '{self.name}' is asked no more: the run is over.") from None
                    if (cause := raised(error)) is not None:
                        copy = self._replaced(copy) if isinstance(error, ray.exceptions.ActorDiedError) else copy
                        raise cause from None
                    self._deaths += 1
                    _log.warning("a worker of the scorer '%s' is gone: %s", self.name, said_of(error))
                    if self._deaths >= _DEATHS * self.count:
                        raise RunError(
                            f"{self._deaths} workers of the scorer '{self.name}' died one after the other without a "
                            f"score; the last one: {said_of(error)}. Go on with rsft resume; or let it score in the "
                            f"run's own process (--set cluster.scorers.{self.name}.workers=0)."
                        ) from None
                    copy = self._replaced(copy)
        finally:
            self._idle.put(copy)

    def dismiss(self) -> None:
        """Let all copies go, with what they hold of the cluster, until somebody asks again."""
        import ray

        ready = [copy.leave.remote() for copy in self._all if id(copy) in self._ready]
        if ready:
            ray.wait(ready, num_returns=len(ready), timeout=_LEAVE_SECONDS)
        for copy in list(self._all):
            ray.kill(copy)
        self._all.clear()
        self._ready.clear()
        for _ in range(self._idle.qsize()):
            self._idle.get()
            self._idle.put(None)

    def close(self) -> None:
        self._is_over = True
        self.dismiss()
        disconnect()

    def _await(self, copy: Any) -> None:
        """Wait until a copy is there: for room on the cluster, and for its model. That is not its scorer's time."""
        import ray

        if id(copy) in self._ready:
            return
        there = copy.fingerprint.remote()
        waiting = Waiting(ray, bundle_of(self._resources), f"cluster.scorers.{self.name}")
        while not ray.wait([there], timeout=_LOOK_SECONDS)[0]:
            waiting.look(f"a worker of the scorer '{self.name}' has")
        ray.get(there)
        self._ready.add(id(copy))

    def _begun(self) -> Any:
        import ray

        options = {**self._resources, "scheduling_strategy": "SPREAD", "name": scorer_name(self.run, self.name)}
        actor = ray.remote(_Actor).options(**options).remote(*self._made_of, self.run, self.name)
        self._all.append(actor)
        return actor

    def _replaced(self, copy: Any) -> Any:
        import ray

        ray.kill(copy)
        self._ready.discard(id(copy))
        if copy in self._all:  # else all were let go meanwhile
            self._all.remove(copy)
        return self._begun()


class Panel(Scorer):
    """A scorer at work on the cluster's machines."""

    _copies: _Copies = PrivateAttr()
    _scorer: Scorer = PrivateAttr()
    _cluster: ClusterSection = PrivateAttr()
    _max_seconds: float = PrivateAttr()
    _fingerprint: str | None = PrivateAttr(None)
    _all: list[_Copies] = PrivateAttr()

    @classmethod
    def of(
        cls,
        run: str,
        name: str,
        scorer: Scorer,
        cluster: ClusterSection,
        max_seconds: float,
        earlier: list[_Copies] | None = None,
    ) -> Panel:
        panel = cls()
        panel._copies = _Copies(run, name, scorer, cluster, max_seconds)
        panel._scorer, panel._cluster, panel._max_seconds = scorer, cluster, max_seconds
        panel._all = [] if earlier is None else earlier
        panel._all.append(panel._copies)
        return panel

    def prepare(self) -> None:
        _ = self.fingerprint

    def score(self, replies: Sequence[Reply]) -> Sequence[Score]:
        said: list[Score] | None = self._copies.call("score", list(replies))
        if said is None:
            most = f"the scorer took more than {self._max_seconds:g} s over {len(replies)} replies"
            return [Score.failed(most)] * len(replies)
        return said

    @property
    def hands(self) -> int:
        return self._copies.count

    def dismiss(self) -> None:
        """Leave to others what the copies hold of the cluster, until somebody asks for scores again."""
        for copies in self._all:
            copies.dismiss()

    def close(self) -> None:
        while self._all:
            self._all.pop().close()

    @property
    def compares(self) -> bool:
        return self._scorer.compares

    def beside(self, baseline: Baseline) -> Panel:
        other = self._scorer.beside(baseline)
        self._copies.dismiss()
        return Panel.of(self._copies.run, self._copies.name, other, self._cluster, self._max_seconds, self._all)

    @property
    def fingerprint(self) -> str:
        """What a copy says of itself: its machine decides what its model works in."""
        if self._fingerprint is None:
            self._fingerprint = str(self._copies.call("fingerprint"))
        return self._fingerprint

    @property
    def description(self) -> str:
        return self._scorer.description


def on_cluster(
    scorers: Mapping[str, Scorer], cluster: ClusterSection, run: str, max_seconds: float, watches: str | None = None
) -> dict[str, Scorer]:
    """The scorers of a run, of which those with a model of their own, and those that the cluster's section names, work
    there.

    `workers: 0` keeps one in this process, and so does one that `watches` candidates in the making.
    """
    bound: dict[str, Scorer] = {}
    for name, scorer in scorers.items():  # parts come before what combines them
        if isinstance(scorer, Combined):
            bound[name] = scorer.of(bound)
        else:
            goes = name != watches and _goes(name, scorer, cluster)
            bound[name] = Panel.of(run, name, scorer, cluster, max_seconds) if goes else scorer
    return bound


def _goes(name: str, scorer: Scorer, cluster: ClusterSection) -> bool:
    said = cluster.scorers.get(name)
    if said is not None:
        return said.workers != 0
    return isinstance(scorer, ModelScorer) and getattr(scorer, "server", None) is None
