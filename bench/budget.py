"""Budgets beside a fixed number of candidates: accepted replies for each candidate or token, and prompts left without.

    python -m bench.budget                         the simulation, then the demo's conversations
    python -m bench.budget --plot FRONTIER.svg     its frontier as a picture too
    python -m bench.budget --recipe service_dialogues --set prompts.train=TRAIN.jsonl.gz \\
        --set prompts.heldout=DEV.jsonl.gz

(a) Simulated: prompts whose acceptance rates are drawn from Beta(0.5, 0.8), at most 4 accepted replies of each, against
32 candidates for every prompt. Every budget sees the same stream of outcomes; a prompt is lost if the 32 would have
solved it.
(b) Real: the recipe's first iteration is run (`--run` keeps it), then arms in turn in this process draw the second
one's candidates from the policy that came of it, with several seeds: the fixed number, the even budget that stops at
the cap, that with early rejection (the default), and the budget `worth`. `--prompts` lets them draw of more prompts
than the first iteration learnt from, to see what becomes of the time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.workload import report, say
from rsft.budget import Budget, Even, Past, Tally, build_budget, rest
from rsft.budget.budget import Capped, Worth, looks
from rsft.budget.past import features
from rsft.budget.worth import Aim
from rsft.config import load_recipe
from rsft.config.recipe import BudgetSection
from rsft.types import Message, Prompt

PROMPTS, EVEN, CAP = 3000, 32, 4
DEFAULT = BudgetSection().coverage
SHIFT = 1.0  # what an iteration of training adds to the log odds of every rate


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a budget came to: its prompts' tallies."""

    tallies: Mapping[str, Tally]

    @property
    def spent(self) -> int:
        return sum(tally.candidates for tally in self.tallies.values())

    @property
    def accepted(self) -> int:
        return sum(min(CAP, tally.accepted) for tally in self.tallies.values())

    @property
    def solved(self) -> set[str]:
        return {p for p, tally in self.tallies.items() if tally.accepted}

    def against(self, fixed: Outcome) -> dict[str, float]:
        """Accepted for each candidate, and the share lost of the prompts that the fixed number solved."""
        return {
            "gain": round(self.accepted / self.spent / (fixed.accepted / fixed.spent), 3),
            "prompts_lost": round(len(fixed.solved - self.solved) / len(fixed.solved), 4),
            "accepted": round(self.accepted / fixed.accepted, 3),
            "spent": round(self.spent / fixed.spent, 3),
        }


class World:
    """Simulated prompts with their rates, and the outcome of every candidate that could be drawn."""

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self.rates = generator.beta(0.5, 0.8, PROMPTS)
        self.uniforms = generator.random((PROMPTS, 2 * EVEN))
        self.ids = tuple(f"p{number}" for number in range(PROMPTS))
        self.even = dict.fromkeys(self.ids, EVEN)

    def later(self, seed: int) -> World:
        """The same prompts one iteration of training later."""
        after = World(seed)
        odds = np.log(np.clip(self.rates, 1e-12, 1 - 1e-12) / np.clip(1 - self.rates, 1e-12, 1)) + SHIFT
        after.rates = 1 / (1 + np.exp(-odds))
        return after

    def spend(self, budget: Budget) -> Outcome:
        """Let the budget have its way."""
        tallies = dict.fromkeys(self.ids, Tally())
        while (granted := budget.next_round(tallies)) is not None:
            after = dict(tallies)
            for number, p in enumerate(self.ids):
                while after[p].candidates < granted.limits.get(p, 0) and not granted.ended(p, after[p]):
                    hit = bool(self.uniforms[number, after[p].candidates] < self.rates[number])
                    after[p] = after[p].after(hit, 1)
            tallies = after
        return Outcome(tallies)

    def worth(self, coverage: float, past: Mapping[str, Past] | None = None) -> Budget:
        """Worth. Only what is carried over tells these prompts apart."""
        turn = (Message("user", "?"),)
        resting = rest(past, 2, PROMPTS) if past else frozenset()
        asked = tuple(p for p in self.ids if p not in resting)
        known = features([Prompt(p, turn, turn) for p in asked], past or {})
        return Worth(asked, known, Aim(CAP, coverage, EVEN, looks(EVEN, 2 * EVEN)))

    def deferred(self, after: int, total: float) -> Budget:
        """Straight rejections make a prompt wait, and a cap on all candidates ends the waiting."""
        order = {p: place for place, p in enumerate(self.ids)}
        return Capped(Even(self.even, CAP, after), int(total * PROMPTS * EVEN), None, 1, order)


@dataclass(frozen=True)
class GivingUp:
    """For comparison: stops at the cap, and for good after so many rejections in a row."""

    counts: Mapping[str, int]
    after: int

    def next_round(self, tallies: Mapping[str, Tally]) -> Any:
        return (
            Even(self.counts, CAP, self.after).next_round(tallies)
            if not any(tally.candidates for tally in tallies.values())
            else None
        )


def simulated(plot: str | None) -> dict[str, Any]:
    """Part (a)."""
    world = World(0)
    fixed = world.spend(Even(world.even))
    families: dict[str, dict[str, dict[str, float]]] = {
        "stopping at 4": {"": world.spend(Even(world.even, CAP)).against(fixed)},
        "giving up after m rejections in a row": {
            str(m): world.spend(GivingUp(world.even, m)).against(fixed) for m in (6, 8, 12, 16, 20, 24, 28)
        },
        "deferring after 8, with a cap": {
            f"{share:.0%}": world.spend(world.deferred(8, share)).against(fixed)
            for share in (0.3, 0.35, 0.4, 0.45, 0.5)
        },
        "worth, by coverage": {
            f"{c:g}": world.spend(world.worth(c)).against(fixed) for c in (0.9, 0.95, 0.98, 1.0, 1.01, 1.02)
        },
        "worth, at its usual coverage": {"": world.spend(world.worth(DEFAULT)).against(fixed)},
    }
    first = world.spend(world.worth(DEFAULT))
    later = world.later(1)
    later_fixed = later.spend(Even(later.even))
    past = {p: Past(1, tally) for p, tally in first.tallies.items() if tally.candidates}
    carried = later.spend(later.worth(DEFAULT, past))
    unrested = {p: Past(0, tally) for p, tally in first.tallies.items() if tally.candidates}
    families["one iteration later"] = {
        "nothing carried over": later.spend(later.worth(DEFAULT)).against(later_fixed),
        "estimates carried over": later.spend(later.worth(DEFAULT, unrested)).against(later_fixed),
        "and the always-solved rest": _with_rest(carried, first).against(later_fixed),
    }
    for family, points in families.items():
        for name, point in points.items():
            say(f"{family} {name}: {json.dumps(point)}")
    if plot:
        draw_frontier(families, Path(plot))
    default = families["worth, at its usual coverage"][""]
    return {"gain_simulated": default["gain"], "prompts_lost": default["prompts_lost"], "frontier": families}


def _with_rest(later: Outcome, first: Outcome) -> Outcome:
    """A prompt that rests is not lost: it was solved before."""
    resting = [p for p, tally in later.tallies.items() if not tally.candidates]
    return _Rested(later.tallies, frozenset(p for p in resting if first.tallies[p].accepted))


@dataclass(frozen=True, slots=True)
class _Rested(Outcome):
    resting: frozenset[str]

    @property
    def solved(self) -> set[str]:
        return {p for p, tally in self.tallies.items() if tally.accepted} | self.resting


def draw_frontier(families: Mapping[str, Mapping[str, Mapping[str, float]]], path: Path) -> None:
    """Gain against prompts lost, one line for each kind of budget."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "rsft"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.2, 4.4), layout="constrained")
    for marker, (family, points) in zip("sovD^", families.items(), strict=False):
        lost = [100 * point["prompts_lost"] for point in points.values()]
        gain = [point["gain"] for point in points.values()]
        axes.plot(lost, gain, marker=marker, linestyle="none" if len(points) < 4 else "-", label=family, alpha=0.85)
        for (name, _), x, y in zip(points.items(), lost, gain, strict=True):
            axes.annotate(name, (x, y), textcoords="offset points", xytext=(5, -9), fontsize=7)
    axes.set(
        xlabel=f"prompts lost, % of those that {EVEN} candidates solve",
        ylabel=f"accepted per candidate, times that of {EVEN} each",
        title="Rates from Beta(0.5, 0.8), at most 4 accepted replies of a prompt",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def real(arguments: argparse.Namespace) -> dict[str, Any]:
    """Part (b)."""
    from rsft.drawing import Drawing
    from rsft.drawn import Drawn
    from rsft.loop import run
    from rsft.progress import Silent
    from rsft.setup import read_prompts, set_up
    from rsft.store import RunFolder
    from rsft.watching import Watching

    kept = arguments.run or tempfile.mkdtemp(prefix="rsft-budget-")
    overrides = [*arguments.overrides, f"run={kept}", "loop.iterations=1", "loop.control=none", "evaluation.samples=0"]
    recipe = load_recipe(arguments.recipe, overrides)
    summary = run(recipe)
    say(f"iteration 1: {summary['iterations'][0]['accepted']} accepted of {summary['iterations'][0]['candidates']}")
    with RunFolder.open(Path(kept), write=True) as folder:
        parts = set_up(recipe, folder)
        policy = folder.policies.of(1, "policy")
        assert policy is not None
    if arguments.prompts:
        further = load_recipe(arguments.recipe, [*overrides, f"prompts.train_limit={arguments.prompts}"])
        parts = replace(parts, train=read_prompts(further)[0])
    ids = [prompt.id for prompt in parts.train]
    early = Watching.of(parts.scorers, parts.selection)
    stop = Even(dict.fromkeys(ids, recipe.sampling.candidates), parts.selection.most_of_a_prompt)
    arms: dict[str, tuple[Budget, Watching | None]] = {
        "fixed": (Even(dict.fromkeys(ids, recipe.sampling.candidates)), None),
        "stop": (stop, None),
        "default": (build_budget(BudgetSection(), recipe.sampling, parts.selection, parts.train), early),
        "worth": (build_budget(BudgetSection(allocate="worth"), recipe.sampling, parts.selection, parts.train), early),
    }

    def draw(budget: Budget, early: Watching | None, seed: int) -> tuple[Drawn, float]:
        with tempfile.TemporaryDirectory() as scratch, RunFolder.open(Path(scratch), write=True) as folder:
            began = time.perf_counter()
            drawing = Drawing(folder, parts, recipe.model_copy(update={"seed": seed}), Silent())
            (drawn,) = drawing.by_budget(2, policy, recipe.sampling.law(), parts.selection, budget, ids, early)
            return drawn, time.perf_counter() - began

    draw(Even(dict.fromkeys(ids[:8], 2)), early, 0)  # warm up
    totals = {arm: np.zeros(5) for arm in arms}
    for seed in range(arguments.seeds):
        for arm, (budget, rejection) in arms.items():
            drawn, seconds = draw(budget, rejection, seed)
            decisions = parts.selection.decide(drawn.pool)
            accepted = [c for c, d in zip(drawn.candidates, decisions, strict=True) if d.accepted]
            solved = {candidate.key.prompt_id for candidate in accepted}
            unique = {(c.key.prompt_id, c.text) for c in accepted}
            totals[arm] += [len(unique), drawn.drawn_tokens, len(solved), seconds, drawn.unneeded_tokens]
            say(f"seed {seed}, {arm}: {dict(zip(NAMES, totals[arm], strict=True))}")
    fixed = totals["fixed"]
    found: dict[str, Any] = {
        arm: {
            "gain": round(total[0] / total[1] / (fixed[0] / fixed[1]), 3),
            "accepted": round(total[0] / fixed[0], 3),
            "tokens": round(total[1] / fixed[1], 3),
            "seconds": round(total[3] / fixed[3], 3),
            "prompts_solved": int(total[2] - fixed[2]),
            "unneeded_tokens": int(total[4]),
        }
        for arm, total in totals.items()
    }
    return {
        "gain_real": found["default"]["gain"],
        "gain_of_worth": found["worth"]["gain"],
        "prompts": len(ids) * arguments.seeds,
        "fixed": dict(zip(NAMES, [round(float(value), 1) for value in fixed], strict=True)),
        "arms": found,
    }


NAMES = ("accepted", "tokens", "solved", "seconds", "unneeded_tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", help="write the frontier there, as SVG")
    parser.add_argument("--only", choices=("simulated", "real"))
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--set", action="append", dest="overrides", default=[], metavar="KEY=VALUE")
    parser.add_argument("--run", help="the first iteration's run folder: made, or gone on with")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--prompts", type=int, help="so many in (b); as many as the recipe's when left out")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "simulated": lambda: simulated(arguments.plot),
        "real": lambda: real(arguments),
    }
    found: dict[str, Any] = {"bench": "budget"}
    for name, part in parts.items():
        if arguments.only in (None, name):
            found |= part()
    report(**found)


if __name__ == "__main__":
    main()
