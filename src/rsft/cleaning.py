"""Making room: what a run folder holds and nothing needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsft import lineage
from rsft.errors import RunError
from rsft.reading import handed_back
from rsft.saved import saved_recipe
from rsft.store import ARMS, RunFolder
from rsft.store.files import TEMPORARY, size


@dataclass(frozen=True, slots=True)
class _Spare:
    """Something that can go. `of` says of which iteration and arm it is the weights, if it is a policy's."""

    path: Path
    why: str
    of: tuple[int, str] | None = None


def clean(run: Path, *, policies: bool = False, dry_run: bool = False) -> dict[str, Any]:
    """Remove what a crash or a repair left behind; with `policies` also the weights of policies that nothing needs.

    Needed are the policy that the run hands back, those from which it would go on to further iterations, and those of
    sets that somebody named. Candidates, scores and decisions always stay, and so does whatever a host keeps: it may
    serve others too, and is removed there. Raises RunError while another process writes
    the run, where something in it is damaged, and for `policies` where the run is not finished.
    """
    saved_recipe(run)
    with RunFolder.open(run, write=False) as folder:
        # Looked for before the folder is opened for writing, which would set aside what is damaged.
        if not folder.is_whole:
            raise RunError(f"Something in the run {run} is damaged: mend it first (rsft resume {run}).")
        spare = list(_left_behind(folder))
    with RunFolder.open(run, write=not dry_run) as folder:
        if policies and not folder.finished:
            raise RunError(f"The run {run} is not finished, and may still need its policies: rsft resume {run}.")
        weights = list(_spare_policies(folder)) if folder.finished else []
        removed = [*spare, *(weights if policies else ())]
        said = [
            {"path": str(one.path.relative_to(folder.path)), "bytes": size(one.path), "why": one.why} for one in removed
        ]
        more = sum(size(one.path) for one in weights)
        if not dry_run:
            for one in removed:
                if one.of is not None:
                    folder.policies.free(*one.of)
                elif one.path.is_dir():
                    shutil.rmtree(one.path)
                else:
                    one.path.unlink(missing_ok=True)
    return {
        "run": str(run),
        "dry_run": dry_run,
        "policies": policies,
        "removed": said,
        "bytes": sum(one["bytes"] for one in said),
        "more_bytes": 0 if policies else more,
    }


def _left_behind(folder: RunFolder) -> Iterator[_Spare]:
    damaged = folder.path / "damaged"
    unfinished = [path for path in sorted(folder.path.rglob(f"*{TEMPORARY}")) if damaged not in path.parents]
    if damaged.is_dir():
        yield _Spare(damaged, "damaged, and set aside")
    for path in unfinished:
        if not any(other in path.parents for other in unfinished):
            yield _Spare(path, "its writing was cut off")


def _spare_policies(folder: RunFolder) -> Iterator[_Spare]:
    trained = folder.done("train")
    goes_on_from = lineage.set_out_from(folder, 1 + max((iteration for iteration, _ in trained), default=0))
    needed = [(handed_back(folder.path) or 0, "policy"), *((goes_on_from, arm) for arm in ARMS)]
    kept = {policy.hash for of in needed if (policy := folder.policies.of(*of))}
    named = folder.selections()
    for iteration, arm in trained:
        policy = folder.policies.trained(iteration, arm)
        if policy is None or policy.hash in kept or arm in named:
            continue
        if (where := folder.policies.weights(policy)) is not None:
            yield _Spare(where, "weights of a policy that nothing needs", (iteration, arm))
