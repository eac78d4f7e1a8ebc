"""What a page that compares policies shows beside their replies: who they are, each run's curve and its iterations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsft.comparison import Which, in_parts
from rsft.errors import RunError
from rsft.reading import handed_back, summary_of
from rsft.saved import saved_recipe
from rsft.store import ARMS, RunFolder
from rsft.web.chart import Curve, curves
from rsft.web.overview import STAGES
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
        return self.which.called(self.name)

    @property
    def policy(self) -> str:
        """In words, its run left out."""
        said = "base" if self.which.iteration == 0 else f"iteration {self.which.iteration}"
        return said if self.which.arm == "policy" else f"{said}, {Source(self.which.arm).title(1)}"


def chosen(said: Iterable[str], run_at: Callable[[str], Path]) -> list[Pick]:
    """The policies that an address names, as RUN (what the run hands back), RUN@2 (iteration 2; 0 is the base) or
    RUN@2:control. One run alone stands for its base and what it hands back. Raises RunError for fewer than two, or more
    than three, and for a name that no run has."""
    names = [name for name in dict.fromkeys(said) if name]
    picks = [_pick(name, run_at) for name in names]
    if len(picks) == 1:
        picks.insert(0, Pick(picks[0].name, Which(picks[0].which.run, 0, "policy")))
    picks = list(dict.fromkeys(picks))
    if len(picks) < 2:
        raise RunError(f"There is nothing to compare with. {_HOW}")
    if len(picks) > MOST:
        raise RunError(f"{len(picks)} are too many to stand side by side: at most {MOST}. {_HOW}")
    return picks


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


def about(picks: Sequence[Pick], title: Callable[[str], str]) -> dict[str, Any]:
    """The `columns`, one for each policy; of each of their runs its `iterations`; the `chart`; and all policies of
    these runs that could be chosen instead."""
    runs = {pick.name: pick.which.run for pick in picks}
    rows = {name: iterations_of(run) for name, run in runs.items()}
    return {
        "columns": [
            {"letter": letter, "pick": pick.address, "name": pick.name, "run": title(pick.name), "policy": pick.policy}
            for letter, pick in zip("ABC", picks, strict=False)
        ],
        "runs": [{"name": name, "title": title(name), "rows": rows[name]} for name in runs],
        "scorers": list(dict.fromkeys(score for of in rows.values() for row in of for score in row["scores"])),
        "chart": curves(
            [
                Curve(title(name) if arm == "policy" else f"{title(name)}, {arm}", number, arm != "policy", points)
                for number, (name, of) in enumerate(rows.items())
                for arm, points in _points(of).items()
            ]
        ),
        "choices": [
            {"pick": pick.address, "title": f"{title(pick.name)} · {pick.policy}"}
            for pick in (Pick(name, which) for name, run in runs.items() for which in measured_in(run))
        ],
    }


def measured_in(run: Path) -> list[Which]:
    """All policies of a run that were measured."""
    with RunFolder.open(run, write=False) as folder:
        done = folder.done("evaluate")
    return [Which(run, iteration, arm) for iteration, arm in sorted(done, key=lambda one: (one[1] != "policy", one))]


def iterations_of(run: Path) -> list[dict[str, Any]]:
    """What the base and each iteration came to, by the notes of their stages, which are there before the summary."""
    summary, iterations = summary_of(run), saved_recipe(run).loop.iterations
    gains = {one["iteration"]: one.get("gain_over_control") for one in summary.get("iterations", ())}
    with RunFolder.open(run, write=False) as folder:
        stages = folder.stages()
    done: dict[tuple[int, str], dict[str, Any]] = {}
    for one in stages:
        done.setdefault((one["iteration"], one["arm"]), {})[one["stage"]] = one["info"] or {}
    arms = [arm for arm in dict.fromkeys(arm for _, arm in done) if arm != "policy"]
    rows = []
    for iteration in range(iterations + 1):
        notes = done.get((iteration, "policy"), {})
        if not notes:
            continue
        sample, select, measured = (notes.get(stage, {}) for stage in ("sample", "select", "evaluate"))
        others = {arm: done.get((iteration, arm), {}).get("evaluate", {}).get("heldout_acceptance") for arm in arms}
        rows.append(
            {
                "iteration": iteration,
                "handed_back": summary.get("handed_back") == iteration,
                "acceptance": measured.get("heldout_acceptance"),
                "others": {arm: said for arm, said in others.items() if said is not None},
                "gain_over_control": gains.get(iteration),
                "accepted": select.get("accepted"),
                "candidates": sample.get("candidates"),
                "tokens": sample.get("tokens"),
                "seconds": sum(notes[stage].get("seconds", 0) for stage in STAGES if stage in notes),
                "scores": {**measured.get("scores", {}), **measured.get("heldout_scores", {})},
                **{name: measured.get(name) for name in ("distinct_2", "self_bleu", "vendi", "mean_words")},
            }
        )
    return rows


def _points(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, Mapping[str, Any]]]:
    """Of the policy and each other arm the acceptance by iteration. The run's own arms set out from the base."""
    found: dict[str, dict[int, Mapping[str, Any]]] = {"policy": {}}
    for row in rows:
        for arm, said in {"policy": row["acceptance"], **row["others"]}.items():
            if said is not None:
                found.setdefault(arm, {})[row["iteration"]] = said
    base = found["policy"].get(0)
    return {arm: {0: base, **of} if base is not None and arm in ARMS else of for arm, of in found.items()}
