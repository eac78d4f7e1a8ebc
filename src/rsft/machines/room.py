"""Room on the machines of a Ray cluster: what somebody asks for, which machines have it, and who waits for it."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rsft.errors import RunError
from rsft.machines import census

_log = logging.getLogger("rsft")

# How often who waits says so, and how often they look.
_SAY_SECONDS, _LOOK_SECONDS = 30.0, 5.0
# Machines may come one after the other, as SLURM or a person starts them, or once they have fetched an image: so long
# none has come before it is hopeless.
_GRACE_SECONDS = 600.0
_GRACE = f"{_GRACE_SECONDS / 60:.0f} minutes"
# So many kinds of machines are told of.
_MOST_KINDS = 5
_GIB = 2**30


def bundle_of(options: Mapping[str, Any]) -> dict[str, float]:
    """What an actor with these options takes, as Ray counts it on a machine."""
    asked = {"CPU": options.get("num_cpus"), "GPU": options.get("num_gpus"), "memory": options.get("memory")}
    return {name: count for name, count in {**asked, **options.get("resources", {})}.items() if count}


def fits(node: Mapping[str, Any], asked: Mapping[str, float]) -> bool:
    """Whether a machine (as ray.nodes() tells it) is alive and has what is asked, in use or not."""
    return bool(node["Alive"]) and _has(node.get("Resources") or {}, asked)


def in_words(asked: Mapping[str, float]) -> str:
    """4 CPUs, 1 GPU, 16 GiB of memory."""
    return ", ".join(_one_in_words(name, count) for name, count in asked.items()) or "nothing"


def _one_in_words(name: str, count: float) -> str:
    if name == "memory":
        return f"{count / _GIB:.3g} GiB of memory"
    return f"{count:g} {name}{'s' if count != 1 and name in ('CPU', 'GPU') else ''}"


class Waiting:
    """Some wait for room, say now and then for what, and give up where there can never be any."""

    def __init__(self, ray: Any, asked: Mapping[str, float], section: str | None = None) -> None:
        """Each takes what is `asked`, on one machine. The recipe's `section` says so; without one they wait on, however
        hopeless it is."""
        self._ray = ray
        self._asked = asked
        self._section = section
        self._since: float | None = None
        self._looked_at = self._said_at = self._changed_at = 0.0
        self._there = 0
        self._hope: str | None = None if section else ""
        """Why it may come to something, as far as that is known."""

    def look(self, missing: str | None) -> None:
        """Called often. Who is missing, in words (2 workers have) that 'not come yet' goes with; None once nobody is.

        Raises RunError where no machine has or ever had what is asked, no autoscaler starts others, and none has come
        for some minutes; and where this machine itself has died for the cluster, which takes no more of it.
        """
        now = time.monotonic()
        if missing is None:
            self._since = None
            return
        if self._since is None:
            self._since = self._looked_at = self._said_at = self._changed_at = now
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        nodes = self._ray.nodes()
        _refuse_dead(self._ray, nodes)
        if len(nodes) != self._there:  # those that go stay among them
            self._there, self._changed_at = len(nodes), now
        able = sum(fits(node, self._asked) for node in nodes)
        if able:
            self._hope = ""
        if self._hope is None and now - self._changed_at >= _GRACE_SECONDS:
            self._give_up(missing)
        if now - self._said_at >= _SAY_SECONDS:
            self._said_at = now
            there = sum(node["Alive"] for node in nodes)
            has_room = f"{able} of {there} machines have that{self._in_use() if able else ''}"
            said = f"{in_words(self._asked)} each; {has_room}" if self._asked else "they ask for no room"
            hope = self._hope if self._hope is not None else f"; others are waited for, {_GRACE} for each"
            _log.warning("%s not come yet (%s%s)", missing, said, hope)

    def _in_use(self) -> str:
        """Whether it is in use wherever it is: then those who wait may wait for each other."""
        free = census.free(self._ray)
        if free is None or any(_has(one, self._asked) for one in free):
            return ""
        return ", and none has it free (other workers of this run count, too)"

    def _give_up(self, missing: str) -> None:
        """Raise RunError, unless a machine had what is asked, somebody may start one, or Ray does not tell."""
        had = census.had(self._ray)
        if had is None or any(_has(one, self._asked) for one in had):
            self._hope = "" if had is None else "; one that is dead had it"
            return
        if (starts := census.autoscales(self._ray)) is not False:
            self._hope = "; the autoscaler is asked for one" if starts else "; an autoscaler may start one"
            return
        raise RunError(
            f"{missing} not come, and never will: each takes {in_words(self._asked)} on one machine, and none of the "
            f"Ray cluster has that, or had it. There are {_machines_in_words(self._ray.nodes())}; no autoscaler starts "
            f"others, and none has come for {_GRACE}. Ask for less ({self._section}: gpus, cpus, memory_gib, "
            "resources), or start machines that have it (ray start --address=HOST:6379; with --num-gpus or --resources "
            "where Ray does not see by itself what is there), and go on with rsft resume."
        )


def _refuse_dead(ray: Any, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Raise RunError where the machine of this process is dead: Ray ends whatever one starts that belongs there."""
    own = ray.get_runtime_context().get_node_id()
    if any(node["NodeID"] == own and not node["Alive"] for node in nodes):
        raise RunError(
            "This machine is not part of its Ray cluster any more: Ray's process here (the raylet) has died. What was "
            "drawn and trained is kept: start Ray again (ray start; cluster.ray: local starts by itself), and go on "
            "with rsft resume."
        )


def _has(has: Mapping[str, float], asked: Mapping[str, float]) -> bool:
    return all(has.get(name, 0) >= count for name, count in asked.items())


def _machines_in_words(nodes: Sequence[Mapping[str, Any]]) -> str:
    """2 x (8 CPUs, 30 GiB of memory) and 1 x (4 CPUs, 1 GPU)."""
    counted = Counter(_has_in_words(node.get("Resources") or {}) for node in nodes if node["Alive"])
    kinds = [f"{count} x ({said})" for said, count in counted.most_common(_MOST_KINDS)]
    return " and ".join([*kinds, *(["others"] if len(counted) > _MOST_KINDS else [])]) or "no machines"


def _has_in_words(has: Mapping[str, float]) -> str:
    known = [name for name in ("CPU", "GPU", "memory") if has.get(name)]
    own = sorted(name for name in has if name not in (*known, "object_store_memory") and not name.startswith("node:"))
    return in_words({name: has[name] for name in (*known, *own)})
