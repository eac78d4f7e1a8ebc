"""What stands in a report, section by section, as far as the run folder holds it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rsft.report import charts
from rsft.report.charts import Point
from rsft.report.document import Block, Code, Document, Figure, Note, Plot, Plots, Replies, Section, Table
from rsft.report.facts import Facts
from rsft.report.story import story
from rsft.wording import printable, score_gain, share, share_gain

_ARMS = ("policy", "control", "unfiltered")
_STAGES = ("tune", "sample", "select", "train", "evaluate")
_VARIETY: Mapping[str, tuple[str, ...]] = {
    "different word pairs": ("distinct_2",),
    "self-BLEU": ("self_bleu",),
    "Vendi": ("vendi",),
    "unique of a prompt's samples": ("sampled", "unique_share"),
    "entropy, nats a token": ("sampled", "entropy"),
    "words": ("mean_words",),
    "tokens": ("mean_tokens",),
    "cut at the limit": ("cut_share",),
    "KL from base, nats": ("kl_from_base", "value"),
}


def contents(facts: Facts) -> Document:
    """The report of a run."""
    sections = [
        Section(anchor, title, blocks)
        for anchor, title, blocks in (
            ("alarms", "Alarms", list(_alarms(facts))),
            ("acceptance", "Held-out acceptance", list(_acceptance(facts))),
            ("distance", "Against the distance from the base", list(_distance(facts))),
            ("scores", "Scores of candidates", list(_scores(facts))),
            ("difficulty", "By prompt difficulty", list(_difficulty(facts))),
            ("variety", "Diversity, length, entropy", list(_variety(facts))),
            ("cost", "Tokens, seconds, money", list(_cost(facts))),
            ("replies", "Replies near the line", list(_replies(facts))),
            ("recipe", "Recipe and origin", list(_origin(facts))),
        )
        if blocks
    ]
    return Document(facts.name, facts.state, story(facts), list(_figures(facts)), sections)


def _figures(facts: Facts) -> Iterator[Figure]:
    best, summary = facts.best, facts.summary
    if best and "heldout_acceptance" in best:
        found = best["heldout_acceptance"]
        yield Figure("held-out acceptance", f"{found['value']:.1%}", f"{_bounds(found)}, iteration {best['iteration']}")
    if facts.base:
        found = facts.base["heldout_acceptance"]
        yield Figure("of the base", f"{found['value']:.1%}", f"{_bounds(found)}, n = {found['n']}")
    for key, name in (("gain_over_base", "gain over base"), ("gain_over_control", "gain over control")):
        if gain := summary.get(key):
            unsure = ", not established" if gain["low"] <= 0 <= gain["high"] else ""
            bounds = f"[{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
            yield Figure(name, f"{gain['value']:+.1%}", f"{bounds}{unsure}")
    decided = [part for part in facts.iterations if "accepted" in part]
    if decided:
        accepted, drawn = (sum(part[key] for part in decided) for key in ("accepted", "candidates"))
        yield Figure("accepted", f"{accepted:,}", f"of {drawn:,} candidates")
    if "seconds" in summary:
        yield Figure("minutes", f"{summary['seconds'] / 60:,.1f}", "all stages")


def _bounds(said: Mapping[str, Any]) -> str:
    return f"[{100 * said['low']:.0f}, {100 * said['high']:.0f}]"


def _alarms(facts: Facts) -> Iterator[Block]:
    did = {"stop": "the run was stopped", "roll_back": "the run went back to its best policy", "warn": "told"}
    if alarms := facts.summary.get("alarms"):
        rows = [[str(one["iteration"]), one["guard"], one["why"], did.get(one["act"], one["act"])] for one in alarms]
        words = frozenset({0, 1, 2, 3})
        yield Table("What the guards found", ("iteration", "guard", "why", "what came of it"), rows, words=words)
    for part in facts.iterations:
        for name, said in part.get("failed_scores", {}).items():
            text = f"{name} failed on {said['failed']} of {said['of']} replies of iteration {part['iteration']}"
            yield Note(f"{text}: {said['reason']}", warning=True)


# -- what was measured on held-out prompts ---------------------------------------------------------------------------


def _acceptance(facts: Facts) -> Iterator[Block]:
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
        rows = [[_row_name(name), *(_mean(part["heldout_scores"][one]) for one in scorers)] for name, part in measured]
        for over, title in (("over_base", "gain over base"), ("over_control", "gain over control")):
            gains = [facts.summary["heldout_score_gains"][one][over] for one in scorers]
            if any(gains):
                rows.append([title, *(score_gain(gain) if gain else "" for gain in gains)])
        yield Table(
            "Held-out scorers",
            ["", *scorers],
            rows,
            note="Means over greedy replies with 95% intervals. These scorers never select.",
        )


def _acceptance_table(facts: Facts) -> Table:
    arms = [arm for arm in _ARMS if arm == "policy" or any(part.get(arm) for part in facts.iterations)]
    rows: list[list[str]] = []
    if facts.base:
        rows.append(["base", "", "", "", share(facts.base["heldout_acceptance"]), *[""] * (len(arms) - 1)])
    for part in facts.iterations:
        name = f"iteration {part['iteration']}"
        best = " ★" if part["iteration"] == facts.summary["best_iteration"] else ""
        counts = [f"{part[key]:,}" if key in part else "" for key in ("candidates", "accepted", "trained_on")]
        rows.append([name + best, *counts, *(_accepted_share(_arm(part, arm)) for arm in arms)])
    for key, title in (("gain_over_base", "gain over base"), ("gain_over_control", "gain over control")):
        if gain := facts.summary[key]:
            rows.append([title, "", "", "", share_gain(gain), *[""] * (len(arms) - 1)])
    note = "Share of held-out prompts whose greedy reply passes every rule that judges a reply by itself; 95% intervals."
    control = " The control learns from as many candidates of each prompt, chosen at random." if len(arms) > 1 else ""
    columns = ("", "candidates", "accepted", "trained on", *arms)
    return Table("Each iteration", columns, rows, note=f"{note}{control} ★: the best by {facts.summary['best_by']}.")


def _arm(part: Mapping[str, Any], arm: str) -> Mapping[str, Any]:
    return part if arm == "policy" else part.get(arm) or {}


def _accepted_share(part: Mapping[str, Any]) -> str:
    return share(part["heldout_acceptance"]) if "heldout_acceptance" in part else ""


def _lines(facts: Facts, name: str, title: str, path: Sequence[str], *, share: bool) -> Plot:
    """A line for each arm: the base at 0, then the iterations."""
    ticks = ["base", *(str(part["iteration"]) for part in facts.iterations)]
    lines: dict[str, list[Point]] = {}
    for arm in _ARMS:
        points = [Point(x, *_at_interval(_arm(part, arm), path)) for x, part in _places(facts, arm, path)]
        if len(points) > 1 or arm == "policy":
            lines[arm] = points
    return charts.over_iterations(name, title, ticks, lines, share=share)


def _places(facts: Facts, arm: str, path: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Where an arm has a value: all of them set out from the base."""
    if _at(facts.base, path) is not None:
        yield 0, {**facts.base, arm: facts.base}
    for place, part in enumerate(facts.iterations, 1):
        if _at(_arm(part, arm), path) is not None:
            yield place, part


def _at_interval(part: Mapping[str, Any], path: Sequence[str]) -> tuple[float, float | None, float | None]:
    said = _at(part, path)
    return (said["value"], said["low"], said["high"]) if isinstance(said, Mapping) else (float(said), None, None)


def _at(said: Any, path: Sequence[str]) -> Any:
    for key in path:
        said = (said or {}).get(key)
    return said


def _distance(facts: Facts) -> Iterator[Block]:
    known = [(name, part) for name, part in facts.measured if part.get("kl_from_base")]
    if len(known) < 2:
        return
    ticks = [name for name, _ in known]
    paths = {"Acceptance, the proxy": ("heldout_acceptance",)}
    paths |= {f"{name} (held out)": ("heldout_scores", name) for name in list(facts.base["heldout_scores"])[:1]}
    plots = []
    for number, (title, path) in enumerate(paths.items()):
        line = [
            Point(math.sqrt(max(0.0, part["kl_from_base"]["value"])), *_at_interval(part, path)) for _, part in known
        ]
        plots.append(charts.against_distance(f"distance{number}", title, ticks, line, share=number == 0))
    yield Plots(plots)
    yield Note(
        "Where acceptance still climbs with the distance while a score that never selects falls, the policy has begun to "
        "please the rules rather than to get better."
    )


# -- what was drawn and decided --------------------------------------------------------------------------------------


def _scores(facts: Facts) -> Iterator[Block]:
    if not facts.distributions:
        return
    names = {name: None for of in facts.distributions for name in of["scores"]}
    with_line = [name for name in names if any(of["scores"][name]["lines"] for of in facts.distributions)]
    ordered = [*with_line, *(name for name in names if name not in with_line)]
    plots = [
        charts.spread(f"scores{number}", name, {of["iteration"]: of["scores"][name] for of in facts.distributions})
        for number, name in enumerate(ordered)
    ]
    yield Note("How many candidates of each iteration (a row) have which score. A dashed line is a rule's threshold.")
    yield Plots(plots)
    rules = {rule: None for of in facts.distributions for rule in of["decided"]}
    rows = [[rule, *(f"{of['decided'].get(rule, 0):,}" for of in facts.distributions)] for rule in rules]
    columns = ("rule", *(f"iteration {of['iteration']}" for of in facts.distributions))
    yield Table("Which rule decided", columns, rows, note="The first rule that rejects a candidate decides on it.")


def _difficulty(facts: Facts) -> Iterator[Block]:
    groups = facts.difficulty
    if not groups:
        return
    iterations = list(groups[0]["shares"])
    if len(iterations) > 1:
        lines = {
            of["name"]: [Point(x, of["shares"][i]) for x, i in enumerate(iterations) if of["shares"][i] is not None]
            for of in groups
        }
        title = "Share of a prompt's candidates that was accepted"
        yield Plots([charts.over_iterations("difficulty", title, [str(i) for i in iterations], lines, share=True)])
    rows = [
        [
            of["name"],
            f"{of['from']:.0%} to {of['to']:.0%}",
            f"{of['prompts']:,}",
            *("" if value is None else f"{value:.1%}" for value in of["shares"].values()),
        ]
        for of in groups
    ]
    yield Table(
        "Train prompts by the share that the base model's candidates had accepted in iteration 1",
        ("prompts", "accepted at first", "how many", *(f"iteration {i}" for i in iterations)),
        rows,
        note="In iteration 1 the groups differ by how they were made. Chance sorts prompts, too: some of what hard ones "
        "gain later, and easy ones lose, is a return to the mean.",
    )


# -- what it did to the replies, and what it took --------------------------------------------------------------------


def _variety(facts: Facts) -> Iterator[Block]:
    measured = facts.measured
    if not measured:
        return
    known = {name: path for name, path in _VARIETY.items() if any(_at(part, path) is not None for _, part in measured)}
    if len(measured) > 1:
        drawn = ("different word pairs", "entropy, nats a token", "words")
        plots = [
            _lines(facts, f"variety{number}", name, known[name], share=False)
            for number, name in enumerate(drawn)
            if name in known
        ]
        yield Plots(plots)
    rows = [[_row_name(name), *(_short(_at(part, path)) for path in known.values())] for name, part in measured]
    yield Table(
        "The policy's replies to held-out prompts",
        ("", *known),
        rows,
        note="Of greedy replies; what speaks of samples, of those. A self-BLEU near 1 says that replies are much alike, "
        "Vendi how many quite different ones they amount to.",
    )


def _cost(facts: Facts) -> Iterator[Block]:
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
            _row_name(str(part["iteration"])),
            *(f"{part[key]:,}" if key in part else "" for key in ("candidates", "tokens", "unneeded_tokens")),
            *(f"{_seconds(part, stage):,.1f}" for stage in stages),
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
    arms = (_arm(part, arm) for arm in _ARMS)
    return float(sum(arm.get("seconds", {}).get(stage, 0) for arm in arms))


def _replies(facts: Facts) -> Iterator[Block]:
    if facts.accepted or facts.rejected:
        yield Note(
            "Of the last iteration as far as there are enough, nearest to a rule's threshold first; then by lot. "
            "What is just over a line and just under it says most about where the line is."
        )
    for title, found in (("Accepted", facts.accepted), ("Rejected", facts.rejected)):
        if found:
            yield Replies(f"{title}: {len(found)}", found)


def _origin(facts: Facts) -> Iterator[Block]:
    summary, recipe = facts.summary, facts.recipe
    rows = [
        ["rsft", str(summary.get("rsft", ""))],
        ["model", ", or ".join(recipe.model)],
        ["base policy", str(summary.get("base_policy", ""))],
        *([f"policy of iteration {part['iteration']}", part["policy"]["hash"]] for part in _trained(facts)),
        ["handed back", _handed_back(summary)],
        ["seed", str(recipe.seed)],
        ["prompts", ", ".join(f"{count:,} {split}" for split, count in summary.get("prompts", {}).items())],
    ]
    yield Table("Where it comes from", ("", ""), [row for row in rows if row[1]], words=frozenset({0, 1}))
    laws = [
        [name, str(law.get("policy", "")), ", ".join(f"{key} {_plain(value)}" for key, value in law.items() if _told(key))]
        for name, law in facts.generators.items()
    ]
    if laws:
        yield Table("What wrote candidates", ("generator", "policy", "how"), laws, words=frozenset({0, 1, 2}))
    yield Code("recipe.yaml", facts.recipe_text)


def _told(key: str) -> bool:
    return key != "policy"


def _plain(value: Any) -> str:
    return "none" if value in (None, [], {}, "") else printable(str(value))


def _trained(facts: Facts) -> list[Mapping[str, Any]]:
    return [part for part in facts.iterations if "policy" in part]


def _handed_back(summary: Mapping[str, Any]) -> str:
    iteration = summary.get("handed_back")
    if iteration is None:
        return ""
    return f"the policy of iteration {iteration}" if iteration else "the base model"


def _row_name(name: str) -> str:
    return name if name == "base" else f"iteration {name}"


def _mean(said: Mapping[str, Any]) -> str:
    return f"{said['value']:.3f} [{said['low']:.3f}, {said['high']:.3f}]"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
