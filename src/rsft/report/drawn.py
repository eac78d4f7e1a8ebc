"""What was drawn and decided, and what it took, as a report tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rsft.report import charts
from rsft.report.charts import Point
from rsft.report.document import Block, Note, Plot, Plots, Table
from rsft.report.facts import Facts, arm_of, row_name
from rsft.store import ARMS

_STAGES = ("tune", "sample", "select", "train", "evaluate")


def scores(facts: Facts) -> Iterator[Block]:
    """How each iteration's scores are spread, with the lines of rules, and which rules decided."""
    if not facts.distributions:
        return
    names = {name: None for of in facts.distributions for name in of["scores"]}
    with_line = [name for name in names if any(of["scores"][name]["lines"] for of in facts.distributions)]
    ordered = [*with_line, *(name for name in names if name not in with_line)]
    plots = [
        charts.spread(f"scores{number}", name, {of["iteration"]: of["scores"][name] for of in facts.distributions})
        for number, name in enumerate(ordered)
    ]
    lines = " A dashed line is a rule's threshold." if with_line else ""
    yield Plots(plots, f"How many candidates of each iteration (a row) have which score.{lines}")
    rules = {rule: None for of in facts.distributions for rule in of["decided"]}
    rows = [[rule, *(f"{of['decided'].get(rule, 0):,}" for of in facts.distributions)] for rule in rules]
    columns = ("rule", *(f"iteration {of['iteration']}" for of in facts.distributions))
    yield Table("Which rule decided", columns, rows, note="The first rule that rejects a candidate decides on it.")


def difficulty(facts: Facts) -> Iterator[Block]:
    """How hard and easy prompts fared, in training and held out."""
    told = (
        ("heldout_difficulty", "Held-out prompts: pass", "samples of the base that pass", facts.heldout_difficulty),
        ("train_difficulty", "Train prompts: accepted", "accepted in iteration 1", facts.train_difficulty),
    )
    shown = [one for one in told if one[-1]]
    plots = [_groups_plot(name, title, groups) for name, title, _, groups in shown if len(groups[0]["shares"]) > 1]
    if plots:
        yield Plots(plots)
    for _, title, by, groups in shown:
        yield _groups_table(title, by, groups)
    if shown:
        yield Note(
            "Groups of about one size by how the base model fared. Train prompts: the mean share of a prompt's "
            "candidates that was accepted; held-out prompts: the share whose greedy reply passes. Chance sorts "
            "prompts, too: some of what hard ones gain later, and easy ones lose, is a return to the mean."
        )


def _groups_plot(name: str, title: str, groups: Sequence[Mapping[str, Any]]) -> Plot:
    ticks = list(groups[0]["shares"])
    lines = {
        of["name"]: [Point(x, of["shares"][tick]) for x, tick in enumerate(ticks) if of["shares"][tick] is not None]
        for of in groups
    }
    return charts.over_iterations(name, title, ticks, lines, share=True)


def _groups_table(title: str, by: str, groups: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        [
            of["name"],
            _from_to(of["from"], of["to"]),
            f"{of['prompts']:,}",
            *("" if value is None else f"{value:.1%}" for value in of["shares"].values()),
        ]
        for of in groups
    ]
    return Table(title, ("prompts", by, "how many", *map(row_name, groups[0]["shares"])), rows)


def _from_to(low: float, high: float) -> str:
    return f"{low:.0%}" if low == high else f"{low:.0%} to {high:.0%}"


def cost(facts: Facts) -> Iterator[Block]:
    """Tokens and seconds of each iteration, and what servers were paid."""
    parts = [part for part in facts.iterations if part.get("seconds")]
    if facts.base:
        parts = [{"iteration": "base", **facts.base}, *parts]
    if not parts:
        return
    stages = [stage for stage in _STAGES if any(_seconds(part, stage) for part in parts)]
    ticks = [str(part["iteration"]) for part in parts]
    yield Plots(
        [
            charts.stacked(
                "seconds",
                "Seconds by stage, controls included",
                ticks,
                {stage: [_seconds(part, stage) for part in parts] for stage in stages},
                "seconds",
            )
        ]
    )
    rows = [
        [
            row_name(str(part["iteration"])),
            *(f"{part[key]:,}" if key in part else "" for key in ("candidates", "tokens", "unneeded_tokens")),
            *(f"{seconds:,.1f}" if (seconds := _seconds(part, stage)) else "" for stage in stages),
        ]
        for part in parts
    ]
    columns = ("", "candidates", "tokens", "tokens not needed", *(f"{stage}, s" for stage in stages))
    yield Table("What each iteration took", columns, rows)
    if spent := facts.summary.get("spent"):
        rows = [
            [name, f"{of['requests']:,.0f}", f"{of['read']:,.0f}", f"{of['written']:,.0f}", f"{of['cost']:,.2f}"]
            for name, of in spent.items()
        ]
        yield Table("What servers were paid", ("server", "requests", "tokens read", "tokens written", "cost"), rows)


def _seconds(part: Mapping[str, Any], stage: str) -> float:
    """Of all arms together."""
    arms = (arm_of(part, arm) for arm in ARMS)
    return float(sum(arm.get("seconds", {}).get(stage, 0) for arm in arms))
