"""The machines of a Ray cluster: whether each of them can work for a run that this one starts."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rsft.doctor.check import Check
from rsft.doctor.store import Left, left_in, trial
from rsft.errors import RunError
from rsft.surroundings import version_of
from rsft.version import __version__

# What has to be the same everywhere: some machines make what others read.
_ALIKE = ("ray", "torch", "transformers", "tokenizers")
# How long a machine may take to say what it is.
_SECONDS = 90.0
_GIB = 2**30


def cluster(address: str, run: Path, segments: str | None = None) -> Iterator[Check]:
    """A look at each machine: its versions beside those of this one, what it has, whether it sees the run's folder, and
    whether it can keep segments at a URL. Nothing is started there but one small task."""
    from rsft.machines.connection import connect, disconnect

    try:
        connect(address)
    except RunError as error:
        yield Check("cluster", "ray", "problem", str(error))
        return
    try:
        with _token(run) as token, left_in(segments) as left:
            yield from _machines(token, segments, left)
    finally:
        disconnect()


def said_of(token: Path | None, segments: str | None = None, left: Left | None = None) -> dict[str, Any]:
    """What the machine on which this is called says of itself; `token` is a file that it may see, `segments` the URL of
    a store that it tries, and `left` what it may find there."""
    return {
        "store": trial(segments, left) if segments is not None else None,
        "host": platform.node(),
        "versions": {"python": platform.python_version(), "rsft": __version__, **{n: version_of(n) for n in _ALIKE}},
        "sees": token is not None and token.is_file(),
    }


def _machines(token: Path | None, segments: str | None, left: Left | None) -> Iterator[Check]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"]]
    of_all = ray.cluster_resources()
    gpus = f", {of_all['GPU']:g} GPUs" if of_all.get("GPU") else ""
    yield Check("cluster", "ray", "ok", f"{len(nodes)} machines, {of_all.get('CPU', 0):g} cores{gpus}")
    asked = {}
    for node in nodes:
        here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked[node["NodeID"]] = (
            ray.remote(said_of).options(num_cpus=0, scheduling_strategy=here).remote(token, segments, left)
        )
    ours = said_of(token)["versions"]
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=_SECONDS)
    stores = []
    for node in nodes:
        name = f"{node['NodeManagerAddress']} {node['NodeID'][:6]}"
        try:
            said = ray.get(asked[node["NodeID"]], timeout=0)
        except ray.exceptions.GetTimeoutError:
            yield Check("cluster", name, "problem", f"it has not answered in {_SECONDS:g} s", "See ray status.")
        except ray.exceptions.RayError as error:
            why = str(error).strip().splitlines()[-1]
            yield Check("cluster", name, "problem", f"it can't run rsft: {why}", "pip install 'rsft[ray]' there.")
        else:
            yield _machine(name, node["Resources"], said, ours)
            if said["store"] is not None:
                stores.append(said["store"].check(name))
    yield from stores


def _machine(name: str, has: Mapping[str, float], said: Mapping[str, Any], ours: Mapping[str, str | None]) -> Check:
    theirs = said["versions"]
    other = [f"{what} {version} (here {ours[what]})" for what, version in theirs.items() if version != ours[what]]
    gpus = f", {has['GPU']:g} GPUs" if has.get("GPU") else ""
    found = f"{said['host']}: {has.get('CPU', 0):g} cores{gpus}, {has.get('memory', 0) / _GIB:.0f} GiB"
    if other:
        return Check(
            "cluster", name, "problem", f"{found}; {', '.join(other)}", "Install the same versions everywhere."
        )
    if not said["sees"]:
        way_out = (
            "Policies and segments are then sent to it, which takes a little longer; or put runs on a shared disk."
        )
        return Check("cluster", name, "note", f"{found}; it does not see the runs' folder", way_out)
    return Check("cluster", name, "ok", f"{found}, sees the runs' folder")


@contextmanager
def _token(run: Path) -> Iterator[Path | None]:
    """A file where the runs are, for as long as others look for it; None where none can be written."""
    there = next(folder for folder in (run, *run.absolute().parents) if folder.is_dir())
    token = there.absolute() / f".rsft-{secrets.token_hex(8)}"
    try:
        token.touch()
    except OSError:
        yield None
        return
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)
