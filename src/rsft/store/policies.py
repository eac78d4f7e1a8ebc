"""The policies that a run trained: where their weights lie, whether these are whole, and which of them were freed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsft import failpoints
from rsft.store import files
from rsft.store.ledger import Ledger
from rsft.types import Policy

BASE = "base"
"""What the base is called among the policies of a run."""


def policy_name(iteration: int, arm: str) -> str:
    """What the policy is called that an arm trained in an iteration: ARM@ITERATION, or base, for 0."""
    return f"{arm}@{iteration}" if iteration else BASE


def round_name(arm: str, number: int) -> str:
    """What an arm is called in a further round of training on the same candidates, from the second on."""
    return f"{arm}_round_{number}"


def round_of(name: str) -> tuple[str, int]:
    """The arm and the number of the round that `round_name` made a name of; the first, for an arm's own."""
    found = re.fullmatch(r"(.+)_round_(\d+)", name)
    return (found[1], int(found[2])) if found else (name, 1)


class Policies:
    """What the train stages of a run folder left behind."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self._path = path
        self._ledger = ledger

    def of(self, iteration: int, arm: str) -> Policy | None:
        """The policy that an iteration trained, in the last of its rounds that is done; None if it has not (yet)."""
        rounds = [self.trained(iteration, arm)]
        while rounds[-1] is not None:
            rounds.append(self.trained(iteration, round_name(arm, len(rounds) + 1)))
        return rounds[-2] if len(rounds) > 1 else None

    def trained(self, iteration: int, arm: str) -> Policy | None:
        """The policy that an arm (or a named set, or a further round of one) trained in an iteration."""
        done = self._ledger.stage_done(iteration, arm, "train")
        if done is None:
            return None
        noted = done["policy"]
        where = {kind: str(files.inside(self._path, noted[kind])) for kind in ("adapter", "weights") if kind in noted}
        return Policy(noted["hash"], **where, hosted=noted.get("hosted"))

    def note(self, policy: Policy) -> dict[str, str]:
        """A policy as a train stage notes it: its folders relative to the run's, so that a run can be moved; of one
        that a host keeps, its name there."""
        where = {"adapter": policy.adapter, "weights": policy.weights}
        folders = {kind: str(Path(said).relative_to(self._path)) for kind, said in where.items() if said}
        return {"hash": policy.hash} | folders | ({"hosted": policy.hosted} if policy.hosted else {})

    def checksums(self, policy: Policy) -> dict[str, str]:
        """The checksum of each file that a policy is loaded from, by its path from the run folder on; a hosted one is
        loaded from none."""
        kinds = ("*.safetensors", "*.json")
        found = sorted(path for kind in kinds for path in policy.folder.glob(kind)) if policy.folder else []
        return {str(path.relative_to(self._path)): files.sha256(path) for path in found}

    def weights(self, policy: Policy) -> Path | None:
        """The folder of a policy's weights; None if it has none of its own, or none any more."""
        return policy.folder if policy.folder is not None and policy.folder.is_dir() else None

    def free(self, iteration: int, arm: str) -> None:
        """Remove the weights that an arm trained in an iteration, for good. What is known of them stays, and so do
        those that a host keeps."""
        policy = self.trained(iteration, arm)
        if policy is None or (where := self.weights(policy)) is None:
            return
        # Noted first: otherwise whoever opens the folder after a crash would take the files for lost.
        self._ledger.event("policy_freed", {"iteration": iteration, "arm": arm, "hash": policy.hash})
        failpoints.reached("policy.freed")
        shutil.rmtree(where)

    def lost(self, iteration: int, arm: str) -> str | None:
        """The hash of a policy whose weights were damaged, so that it is to be trained again."""
        hashes = [hash_ for i, of, hash_ in self._events("policy_damaged") if (i, of) == (iteration, arm)]
        return hashes[-1] if hashes else None

    def damaged(self) -> list[dict[str, Any]]:
        """The train stages whose policies' files are missing, or are not what was written; but for those freed."""
        freed = self._events("policy_freed")

        def is_damaged(stage: Mapping[str, Any]) -> bool:
            note = stage["info"] or {}
            if not note.get("files") or (stage["iteration"], stage["arm"], note["policy"]["hash"]) in freed:
                return False
            return not all(self._is_intact(*file) for file in note["files"].items())

        return [stage for stage in self._ledger.stages() if stage["stage"] == "train" and is_damaged(stage)]

    def _events(self, kind: str) -> list[tuple[int, str, str]]:
        """The iterations, arms and hashes of what happened to policies."""
        said = [event for event in self._ledger.events() if event["kind"] == kind]
        return [(event["iteration"], event["arm"], event["hash"]) for event in said]

    def _is_intact(self, named: str, sha256: str) -> bool:
        return files.is_as_written(files.inside(self._path, named), sha256)
