"""What was measured on held-out prompts, as a report tells it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rsft.report import charts
from rsft.report.charts import Point
from rsft.report.document import Block, Note, Plot, Plots, Table
from rsft.report.facts import Facts, arm_of, at, row_name
from rsft.store import ARMS
from rsft.wording import score_gain, share, share_gain

_OVER = ("over_base", "over_control")
_VARIETY: Mapping[str, tuple[tuple[str, ...], str]] = {
    "different word pairs": (("distinct_2",), ".3f"),
    "self-BLEU": (("self_bleu",), ".3f"),
    "Vendi": (("vendi",), ".1f"),
    "unique samples": (("sampled", "unique_share"), ".0%"),
    "entropy, nats a token": (("sampled", "entropy"), ".2f"),
    "words": (("mean_words",), ".1f"),
    "tokens": (("mean_tokens",), ".1f"),
    "cut by the limit": (("cut_share",), ".1%"),
    "KL from the base, nats": (("kl_from_base", "value"), ".1f"),
}
"""What a column of that table says, where a policy's numbers hold it, and how it is written."""


def acceptance(facts: Facts) -> Iterator[Block]:
    """Acceptance and held-out scores of the base and each iteration, beside the controls; and the gains."""
    measured = facts.measured
    if not measured:
        yield Note("No policy was measured on held-out prompts.")
        return
    ticks = [name for name, _ in measured]
    plots = [_lines(facts, "acceptance", "Acceptance", ("heldout_acceptance",), share=True)]
    scorers = list(facts.base.get("heldout_scores", {}))
    for number, name in enumerate(scorers):
        path = ("heldout_scores", name)
        plots.append(_lines(facts, f"heldout{number}", f"{name} (held out)", path, share=False))
    if len(ticks) > 1:
        yield Plots(plots)
    yield _acceptance_table(facts)
    if scorers:
        rows = [[row_name(name), *(_mean(part["heldout_scores"][one]) for one in scorers)] for name, part in measured]
        note = "Means over greedy replies with 95% intervals. These scorers never select."
        yield Table("Held-out scorers", ["", *scorers], rows, note=note)
    yield from _gains(facts)


def _gains(facts: Facts) -> Iterator[Block]:
    summary = facts.summary
    gains = {"acceptance": {over: summary[f"gain_{over}"] for over in _OVER}, **summary["heldout_score_gains"]}
    overs = [over for over in _OVER if any(of[over] for of in gains.values())]
    rows = []
    for name, of in gains.items():
        said = share_gain if name == "acceptance" else score_gain
        rows.append([name, *(said(of[over]) if of[over] else "" for over in overs)])
    if overs:
        control = "; over the control's best" if "over_control" in overs else ""
        note = f"Of the best iteration, prompt by prompt, with 95% intervals{control}."
        yield Table("Gains", ("", *(over.replace("_", " ") for over in overs)), rows, note=note)


def _acceptance_table(facts: Facts) -> Table:
    arms = [arm for arm in ARMS if arm == "policy" or any(part.get(arm) for part in facts.iterations)]
    rows: list[list[str]] = []
    if facts.base:
        rows.append(["base", share(facts.base["heldout_acceptance"]), *[""] * (len(arms) + 2)])
    for part in facts.iterations:
        name = f"iteration {part['iteration']}"
        best = " ★" if part["iteration"] == facts.summary["best_iteration"] else ""
        counts = [f"{part[key]:,}" if key in part else "" for key in ("candidates", "accepted", "trained_on")]
        rows.append([name + best, *(_accepted_share(arm_of(part, arm)) for arm in arms), *counts])
    note = (
        "Share of held-out prompts whose greedy reply passes every rule that judges a reply by itself; 95% intervals."
    )
    control = (
        " The control learns from as many candidates of each prompt, chosen at random." if "control" in arms else ""
    )
    columns = ("", *arms, "candidates", "accepted", "trained on")
    return Table("Each iteration", columns, rows, note=f"{note}{control} ★: the best by {facts.summary['best_by']}.")


def compared(facts: Facts) -> Iterator[Block]:
    """Which replies people found better, blind: of each two policies and each labeller."""
    if not facts.compared:
        return
    rows = []
    for one in facts.compared:
        counts = (one.wins, one.losses, one.ties, one.equal, one.skipped)
        said = share(asdict(one.win_rate))
        pair = f"{one.one.name} against {one.other.name}"
        rows.append([pair, one.labeller, said, *(f"{count:,}" for count in counts), f"{one.p:.2g}"])
    columns = ("", "by", "win rate", "won", "lost", "equal", "same text", "can't say", "sign test p")
    yield Table(
        "Replies compared blind",
        columns,
        rows,
        note="Greedy replies to the same held-out prompts, side by side, the first so many prompts of a random order. "
        "Equal ones, and those of the same text, count as half a win each; where nobody could say, not at all. 95% "
        "intervals. Labels of who had seen the result are left out.",
        words=frozenset({0, 1}),
    )


def distance(facts: Facts) -> Iterator[Block]:
    """What is selected by, and what never selects, against the distance from the base (Gao et al. 2210.10760)."""
    known = [(name, part) for name, part in facts.measured if part.get("kl_from_base")]
    if len(known) < 2:
        return
    ticks = [name for name, _ in known]
    paths: dict[str, tuple[str, ...]] = {"Acceptance, the proxy": ("heldout_acceptance",)}
    paths |= {f"{name} (held out)": ("heldout_scores", name) for name in list(facts.base["heldout_scores"])[:1]}
    plots = []
    for number, (title, path) in enumerate(paths.items()):
        line = [
            Point(math.sqrt(max(0.0, part["kl_from_base"]["value"])), *_at_interval(part, path)) for _, part in known
        ]
        plots.append(charts.against_distance(f"distance{number}", title, ticks, line, share=number == 0))
    yield Plots(
        plots,
        "Where acceptance still climbs with the distance while a score that never selects falls, the policy has begun "
        "to please the rules rather than to get better.",
    )


def variety(facts: Facts) -> Iterator[Block]:
    """How various and how long the replies are."""
    measured = facts.measured
    if not measured:
        return
    known = {name: of for name, of in _VARIETY.items() if any(at(part, of[0]) is not None for _, part in measured)}
    if len(measured) > 1:
        drawn = ("different word pairs", "entropy, nats a token", "words")
        plots = [
            _lines(facts, f"variety{number}", name, known[name][0], share=False)
            for number, name in enumerate(drawn)
            if name in known
        ]
        yield Plots(plots)
    rows = [
        [row_name(name), *(_written(at(part, path), form) for path, form in known.values())] for name, part in measured
    ]
    yield Table(
        "The policy's replies to held-out prompts",
        ("", *known),
        rows,
        note="Of greedy replies; what speaks of samples or of entropy, of samples. Unique samples: of those of one "
        "prompt. A self-BLEU near 1 says that replies are much alike, Vendi how many quite different ones they are.",
    )


def _accepted_share(part: Mapping[str, Any]) -> str:
    return share(part["heldout_acceptance"]) if "heldout_acceptance" in part else ""


def _lines(facts: Facts, name: str, title: str, path: Sequence[str], *, share: bool) -> Plot:
    """A line for each arm: the base at 0, then the iterations."""
    ticks = ["base", *(str(part["iteration"]) for part in facts.iterations)]
    lines: dict[str, list[Point]] = {}
    for arm in ARMS:
        points = [Point(x, *_at_interval(arm_of(part, arm), path)) for x, part in _places(facts, arm, path)]
        if len(points) > 1 or arm == "policy":
            lines[arm] = points
    return charts.over_iterations(name, title, ticks, lines, share=share)


def _places(facts: Facts, arm: str, path: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Where an arm has a value: all of them set out from the base."""
    if at(facts.base, path) is not None:
        yield 0, {**facts.base, arm: facts.base}
    for place, part in enumerate(facts.iterations, 1):
        if at(arm_of(part, arm), path) is not None:
            yield place, part


def _at_interval(part: Mapping[str, Any], path: Sequence[str]) -> tuple[float, float | None, float | None]:
    said = at(part, path)
    return (said["value"], said["low"], said["high"]) if isinstance(said, Mapping) else (float(said), None, None)


def _mean(said: Mapping[str, Any]) -> str:
    return f"{said['value']:.3f} [{said['low']:.3f}, {said['high']:.3f}]"


def _written(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
