"""Who of a run can speak: the base, and what each iteration trained."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rsft.config import Recipe
from rsft.errors import ModelError, RunError, nearest
from rsft.models.references import available, files_of
from rsft.models.shapes import weight_shapes
from rsft.reading import handed_back
from rsft.store import BASE, RunFolder, policy_name, round_of
from rsft.types import Policy

BEST = "best"
_NAMED = re.compile(r"(?:(?P<arm>[^@]+)@)?(?P<iteration>\d+)")


@dataclass(frozen=True, slots=True)
class Speaker:
    """One who replies, by the name that a conversation has for it: `base`, or ARM@ITERATION. `policy` is None for the
    base, which an engine knows by itself."""

    name: str
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class Offered:
    """A speaker that the run has, with the bytes of its own weights, beside the base's; None where they are elsewhere.
    `missing` says why it can't speak."""

    speaker: Speaker
    title: str
    bytes: int | None = None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """Who can speak, the name of the one that the run hands back, and what loading takes.

    `model` is the base, of so many `bytes` on the disk and `weights` numbers (None where its files are not here). In
    memory a weight takes `weight_bytes` at most. `engine` is the recipe's; `writer` the process at work on the run.
    """

    speakers: Sequence[Offered]
    best: str
    model: str
    engine: str
    bytes: int | None
    weights: int | None
    weight_bytes: int
    writer: int | None

    @property
    def memory(self) -> int | None:
        """Bytes of memory that the base takes at most, however many speak: those of a run share its weights."""
        return None if self.weights is None else self.weights * self.weight_bytes

    @property
    def needs_files(self) -> bool:
        """Whether the recipe's engine loads the model on this machine."""
        return self.engine == "local"

    def find(self, name: str) -> Offered:
        """The speaker of a name: base, best, an iteration's number, or ARM@NUMBER. Raises RunError."""
        known = {one.speaker.name: one for one in self.speakers}
        wanted = self.best if name == BEST else name
        if said := _NAMED.fullmatch(wanted):
            wanted = policy_name(int(said["iteration"]), said["arm"] or "policy")
        if wanted not in known:
            raise RunError(
                f"The run has nobody called '{name}' to talk to.{nearest(name, known)} It has {', '.join(known)}; best "
                f"is {self.best}."
            )
        return known[wanted]


def offered(run: Path, recipe: Recipe) -> Offer:
    """Who can speak, and what it takes. Loads and asks nothing."""
    with RunFolder.open(run, write=False) as folder:
        trained = [(i, arm) for i, arm in dict.fromkeys(folder.done("train")) if round_of(arm)[1] == 1]
        found = [_offered(folder, iteration, arm) for iteration, arm in sorted(trained, key=_order)]
        writer = folder.writer_pid()
    best = handed_back(run)
    if best is None:
        best = max((iteration for iteration, arm in trained if arm == "policy"), default=0)
    size, weights = _size(recipe)
    return Offer(
        speakers=[Offered(Speaker(BASE), "the base"), *found],
        best=policy_name(best, "policy"),
        model=available(recipe.model) or recipe.model[0],
        engine=recipe.engine if isinstance(recipe.engine, str) else str(recipe.engine.get("type")),
        bytes=size,
        weights=weights,
        weight_bytes=4 if recipe.dtype in ("auto", "float32") else 2,
        writer=writer,
    )


def _order(of: tuple[int, str]) -> tuple[int, bool, str]:
    iteration, arm = of
    return -iteration, arm != "policy", arm


def _offered(folder: RunFolder, iteration: int, arm: str) -> Offered:
    policy = folder.policies.of(iteration, arm)
    assert policy is not None, "its training is done"
    speaker = Speaker(policy_name(iteration, arm), policy)
    title = f"the {arm} of iteration {iteration}"
    if policy.folder is None:
        return Offered(speaker, title)
    where = folder.policies.weights(policy)
    if where is None:
        return Offered(speaker, title, missing="its weights were removed (rsft clean --policies), or are lost")
    return Offered(speaker, title, sum(file.stat().st_size for file in where.glob("*.safetensors")))


def _size(recipe: Recipe) -> tuple[int | None, int | None]:
    """The bytes of the base's files, and how many weights are in them."""
    reference = available(recipe.model)
    if reference is None:
        return None, None
    try:
        return sum(file.stat().st_size for file in files_of(reference)), sum(
            math.prod(shape) for shape in weight_shapes(reference).values()
        )
    except (ModelError, OSError, ValueError):  # files that are no weights: loading will say so
        return None, None
