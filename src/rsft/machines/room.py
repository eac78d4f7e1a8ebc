"""Room on the machines of a Ray cluster: what somebody asks for, which machines have it, and who waits for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

_log = logging.getLogger("rsft")

# How often who waits says so, and how often they look.
_SAY_SECONDS, _LOOK_SECONDS = 30.0, 5.0
_GIB = 2**30


def bundle_of(options: Mapping[str, Any]) -> dict[str, float]:
    """What an actor with these options takes, as Ray counts it on a machine."""
    asked = {"CPU": options.get("num_cpus"), "GPU": options.get("num_gpus"), "memory": options.get("memory")}
    return {name: count for name, count in {**asked, **options.get("resources", {})}.items() if count}


def fits(node: Mapping[str, Any], asked: Mapping[str, float]) -> bool:
    """Whether a machine (as ray.nodes() tells it) is alive and has what is asked, in use or not."""
    has = node.get("Resources") or {}
    return bool(node["Alive"]) and all(has.get(name, 0) >= count for name, count in asked.items())


def in_words(asked: Mapping[str, float]) -> str:
    """4 CPUs, 1 GPU, 16 GiB of memory."""
    return ", ".join(_one_in_words(name, count) for name, count in asked.items()) or "nothing"


def _one_in_words(name: str, count: float) -> str:
    if name == "memory":
        return f"{count / _GIB:.3g} GiB of memory"
    return f"{count:g} {name}{'s' if count != 1 and name in ('CPU', 'GPU') else ''}"


class Waiting:
    """Some wait for room, and say now and then for what."""

    def __init__(self, ray: Any, asked: Mapping[str, float]) -> None:
        """Each takes what is `asked`, on one machine."""
        self._ray = ray
        self._asked = asked
        self._since: float | None = None
        self._looked_at = self._said_at = 0.0

    def look(self, missing: str | None) -> None:
        """Called often. Who is missing, in words that 'not come yet' goes with; None once nobody is."""
        now = time.monotonic()
        if missing is None:
            self._since = None
            return
        if self._since is None:
            self._since = self._looked_at = self._said_at = now
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        if now - self._said_at >= _SAY_SECONDS:
            self._said_at = now
            there = [node for node in self._ray.nodes() if node["Alive"]]
            able = sum(fits(node, self._asked) for node in there)
            said = in_words(self._asked)
            _log.warning("%s not come yet (%s each; %d of %d machines have that)", missing, said, able, len(there))
