"""Which policies are compared, as an address names them, and which could be chosen instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rsft.comparison import Which, called, in_parts
from rsft.errors import RunError
from rsft.reading import handed_back
from rsft.store import RunFolder
from rsft.web.pages import which_iteration
from rsft.web.sources import Source

MOST = 3
_HOW = "Mark two or three runs in the list, or iterations on a run's page (x marks the row), and compare them (c)."


@dataclass(frozen=True, slots=True)
class Pick:
    """A policy, and its run's name in addresses."""

    name: str
    which: Which

    @property
    def address(self) -> str:
        """RUN@2, or RUN@2:control."""
        return called(self.name, self.which.iteration, self.which.arm)

    @property
    def policy(self) -> str:
        """In words, its run left out."""
        said = which_iteration(self.which.iteration)
        return said if self.which.arm == "policy" else f"{said}, {Source(self.which.arm).title(1)}"


def chosen(said: Iterable[str], run_at: Callable[[str], Path]) -> list[Pick]:
    """The policies that an address names, as RUN (what the run hands back), RUN@2 (iteration 2; 0 is the base) or
    RUN@2:control. One alone stands for the base and itself; the base, for itself and the run's last policy. Raises
    RunError for fewer than two, or more than three, and for a name that no run has."""
    names = [name for name in dict.fromkeys(said) if name]
    picks = [_pick(name, run_at) for name in names]
    if len(picks) == 1:
        picks = _beside_its_base(picks[0])
    picks = list(dict.fromkeys(picks))
    if len(picks) < 2:
        raise RunError(f"There is nothing to compare with. {_HOW}")
    if len(picks) > MOST:
        raise RunError(f"{len(picks)} are too many to stand side by side: at most {MOST}. {_HOW}")
    return picks


def _beside_its_base(pick: Pick) -> list[Pick]:
    base = Which(pick.which.run, 0, "policy")
    if pick.which != base:
        return [Pick(pick.name, base), pick]
    policies = [which for which in measured_in(base.run) if which.arm == "policy"]
    return [pick, Pick(pick.name, max(policies, key=lambda which: which.iteration, default=base))]


def _pick(said: str, run_at: Callable[[str], Path]) -> Pick:
    """A run's name may itself have an @ in it."""
    try:
        run = run_at(said)
    except RunError:
        named = in_parts(said)
        if named is None:
            raise
        name, iteration, arm = named
        return Pick(name, Which(run_at(name), iteration, arm))
    best = handed_back(run)
    if best is None and Which(run, 0, "policy") not in measured_in(run):
        raise RunError(f"The run {said!r} has measured no policy on held-out prompts yet: compare it once it has.")
    return Pick(said, Which(run, best or 0, "policy"))


def columns(picks: Sequence[Pick], title: Callable[[str], str]) -> list[dict[str, str]]:
    """The policies as the columns of tables. `title` says what a run is called on a page."""
    return [
        {"letter": letter, "pick": pick.address, "name": pick.name, "run": title(pick.name), "policy": pick.policy}
        for letter, pick in zip("ABC", picks, strict=False)
    ]


def choices(picks: Sequence[Pick], title: Callable[[str], str]) -> list[dict[str, str]]:
    """All policies that the runs of these measured."""
    runs = {pick.name: pick.which.run for pick in picks}
    there = (Pick(name, which) for name, run in runs.items() for which in measured_in(run))
    return [{"pick": pick.address, "title": f"{title(pick.name)} · {pick.policy}"} for pick in there]


def measured_in(run: Path) -> list[Which]:
    """All policies of a run that were measured."""
    with RunFolder.open(run, write=False) as folder:
        done = folder.done("evaluate")
    return [Which(run, iteration, arm) for iteration, arm in sorted(done, key=lambda one: (one[1] != "policy", one))]
