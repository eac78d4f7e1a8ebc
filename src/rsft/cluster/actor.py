"""A worker as one of Ray's actors: its process, how it is started, and how one that hangs is ended."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rsft.cluster.dashboard import Counted, engine_name
from rsft.cluster.leases import News
from rsft.cluster.luggage import Luggage
from rsft.cluster.orphans import end_soon, end_with_parent
from rsft.cluster.policies import Sent
from rsft.cluster.worker import Facts, Taken, Worker
from rsft.machines.homes import own_home
from rsft.types import Policy, Prompt

# Calls that a worker may be in at once: one that asks what came, one that tells, and one more.
_GROUPS = {"asked": 1, "told": 1, "besides": 1}


class Actor:
    """A worker, as an actor. See `Worker` for what its methods promise."""

    def __init__(self, station: Luggage, threads: int, run: str, name: str) -> None:
        # Ray lets an actor have one thread only, unless it is told how many cores it takes.
        end_with_parent()
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self._worker = Worker(station.open(), own_home("rsft-worker-").path)
        self._counted = Counted(run, name, "rsft_candidates", "rsft_tokens")

    def facts(self) -> Facts:
        import ray

        return replace(self._worker.facts(), node=ray.get_runtime_context().get_node_id())

    def begin(self, number: int, sent: Sent, watch: Luggage | None, witness: Prompt) -> None:
        self._worker.begin(number, _arrived(sent), watch.open() if watch else None, witness)

    def tell(self, number: int, news: News) -> None:
        self._worker.tell(number, news)

    def take(self) -> Taken:
        taken = self._worker.take()
        tokens = sum(len(candidate.token_ids) for candidate in taken.candidates)
        self._counted.add(rsft_candidates=len(taken.candidates), rsft_tokens=tokens)
        return taken

    def end(self, number: int) -> None:
        self._worker.end(number)

    def leave(self) -> None:
        """Nothing will be drawn any more."""
        self._worker.close()
        end_soon()

    def do(self, method: str, *arguments: Any) -> Any:
        return getattr(self._worker, method)(*(_arrived(one) if isinstance(one, Sent) else one for one in arguments))


def started(station: Luggage, threads: int, run: str, name: str, resources: Mapping[str, Any]) -> Any:
    """Ask Ray for an actor of a run; it comes when there is room. It is called `name` by its driver, and by Ray
    something that no other one of the cluster's is."""
    import ray

    kind = ray.remote(concurrency_groups=_GROUPS)(Actor)
    options = {**resources, "scheduling_strategy": "SPREAD", "name": engine_name(run, name)}
    return kind.options(**options).remote(station, threads, run, name)


def end_for_good(actor: Any, facts: Facts | None) -> None:
    """End a worker that does not answer: Ray asks one to end, and one that hangs would keep its GPU."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.kill(actor)
    if facts is not None:
        there = NodeAffinitySchedulingStrategy(facts.node, soft=False)
        ray.remote(_kill).options(num_cpus=0, scheduling_strategy=there, max_retries=0).remote(facts.pid)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _arrived(sent: Sent) -> Policy:
    import ray

    return sent.arrived(lambda parts: map(ray.get, parts))
