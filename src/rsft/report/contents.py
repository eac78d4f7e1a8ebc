"""What stands in a report, section by section, as far as the run folder holds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rsft.cluster.rolls import Worked, many
from rsft.report import drawn, held_out
from rsft.report.document import Block, Code, Document, Figure, Note, Replies, Section, Table
from rsft.report.facts import Facts
from rsft.report.story import story
from rsft.wording import printable


def contents(facts: Facts) -> Document:
    """The report of a run."""
    sections = [
        Section(anchor, title, blocks)
        for anchor, title, blocks in (
            ("alarms", "Alarms", list(_alarms(facts))),
            ("acceptance", "Held-out acceptance", list(held_out.acceptance(facts))),
            ("compared", "Compared by people", list(held_out.compared(facts))),
            ("distance", "Against the distance from the base", list(held_out.distance(facts))),
            ("scores", "Scores of candidates", list(drawn.scores(facts))),
            ("difficulty", "By prompt difficulty", list(drawn.difficulty(facts))),
            ("variety", "Diversity, length, entropy", list(held_out.variety(facts))),
            ("cost", "Tokens, seconds, money", list(drawn.cost(facts))),
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
    if decided := facts.distributions:
        accepted, drawn = (sum(part[key] for part in decided) for key in ("accepted", "candidates"))
        yield Figure("accepted", f"{accepted:,}", f"of {drawn:,} candidates")
    if "seconds" in summary:
        yield Figure("minutes", f"{summary['seconds'] / 60:,.1f}", "all stages")


def _bounds(said: Mapping[str, Any]) -> str:
    return f"[{100 * said['low']:.0f}, {100 * said['high']:.0f}]"


def _alarms(facts: Facts) -> Iterator[Block]:
    did = {
        "stop": "the run was stopped",
        "roll_back": "the run went back to its best policy",
        "warn": "the run went on",
    }
    if alarms := facts.summary.get("alarms"):
        rows = [[str(one["iteration"]), one["guard"], one["why"], did.get(one["act"], one["act"])] for one in alarms]
        words = frozenset({0, 1, 2, 3})
        yield Table("What the guards found", ("iteration", "guard", "why", "what came of it"), rows, words=words)
    for part in facts.iterations:
        for name, said in part.get("failed_scores", {}).items():
            text = f"{name} failed on {said['failed']} of {said['of']} replies of iteration {part['iteration']}"
            yield Note(f"{text}: {said['reason']}", warning=True)


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
        ["model", ", or ".join(recipe.model)],
        ["base policy", str(summary.get("base_policy", ""))],
        *([f"policy of iteration {part['iteration']}", part["policy"]["hash"]] for part in _trained(facts)),
        ["handed back", _handed_back(summary)],
        ["seed", str(recipe.seed)],
        ["prompts", ", ".join(f"{count:,} {split}" for split, count in summary.get("prompts", {}).items())],
        ["workers", _unsteady(facts.worked)],
    ]
    yield Table("Where it comes from", ("", ""), [row for row in rows if row[1]], words=frozenset({0, 1}))
    if facts.surroundings:
        yield Table("What it was made with", ("versions", "machine"), _made_with(facts), words=frozenset({0, 1}))
    laws = [
        [
            name,
            str(law.get("policy", "")),
            ", ".join(f"{key} {_plain(value)}" for key, value in law.items() if _told(key)),
        ]
        for name, law in facts.generators.items()
    ]
    if laws:
        yield Table("What wrote candidates", ("generator", "policy", "how"), laws, words=frozenset({0, 1, 2}))
    yield Code("recipe.yaml", facts.recipe_text)


def _unsteady(worked: Worked) -> str:
    """How many workers of a cluster were lost, and how much work was overtaken; nothing where all went well."""
    if not worked.lost and not worked.overtaken:
        return ""
    shares = f"{worked.overtaken:,} share{'' if worked.overtaken == 1 else 's'} of work"
    where = f"{worked.hosts:,} host{'' if worked.hosts == 1 else 's'}"
    return (
        f"{many(len(worked.workers))} on {where}: {worked.lost:,} lost, {shares} overtaken; no candidate is missing or "
        "counted twice for it"
    )


def _made_with(facts: Facts) -> list[list[str]]:
    """A row for each change of versions or machine on the way."""
    return [
        [
            ", ".join([f"python {said['python']}", *(f"{name} {number}" for name, number in said["packages"].items())]),
            f"{said['device']}; {said['machine']}",
        ]
        for said in facts.surroundings
    ]


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
