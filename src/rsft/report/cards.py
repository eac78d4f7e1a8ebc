"""Cards in the hub's format: what a policy is, and what the replies are that it was trained on; how both were made,
what was measured, and what nobody knows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rsft.report.facts import Facts
from rsft.report.render import markdown_of
from rsft.report.story import story
from rsft.wording import score_gain, share, share_gain

_TAGS = ("rsft", "rejection-sampling", "fine-tuning")
_ON_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_LARGEST = "10M<n<100M"


@dataclass(frozen=True, slots=True)
class Beside:
    """What a card lies beside, where that is not the run itself.

    `iteration`: whose policy; `selection`: the named set that it was trained on, or that accepted the rows. `header`
    stands over what the card would say there. `section` is Markdown: how to load it, or its columns. `rows`: how many
    there are.
    """

    iteration: int | None
    header: Mapping[str, Any]
    section: str
    policy: str | None = None
    selection: str | None = None
    rows: int | None = None


def model_card(facts: Facts, beside: Beside | None = None) -> str:
    """The card of the policy that the run hands back, or of another: Markdown under a YAML header.

    The base's name stands there if it is one of the hub. No licence does, unless somebody named one: a policy's is that
    of its base and data.
    """
    told = beside or _of_run(facts)
    metrics = None if told.selection else _metrics(facts, told.iteration)
    header = {
        **_base_of(facts),
        "library_name": "peft" if _policy(facts, told.iteration).get("adapter") else "transformers",
        "pipeline_tag": "text-generation",
        "tags": list(_TAGS),
        "model-index": [_index(facts, metrics)] if metrics else None,
    }
    return _card("model_card.md.j2", facts, header, told)


def dataset_card(facts: Facts, beside: Beside | None = None) -> str:
    """The card of the replies that the run accepted, or of rows made of them: Markdown under a YAML header."""
    told = beside or _of_run(facts)
    count = _accepted(facts) if told.rows is None else told.rows
    header = {
        "pretty_name": f"Replies that {facts.name} accepted",
        "task_categories": ["text-generation"],
        "size_categories": [next((name for most, name in _SIZES if count < most), _LARGEST)],
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "tags": [*_TAGS, "synthetic"],
    }
    return _card("dataset_card.md.j2", facts, header, told)


def _of_run(facts: Facts) -> Beside:
    return Beside(facts.summary.get("handed_back"), {}, "")


def _card(template: str, facts: Facts, header: Mapping[str, Any], told: Beside) -> str:
    # A licence comes first, as people look for it.
    header = {**{key: told.header[key] for key in ("license",) if key in told.header}, **header, **told.header}
    known = {key: value for key, value in header.items() if value is not None}
    model = _public(facts.model)
    return markdown_of(
        template,
        {
            "header": _dumped(known),
            "name": facts.name,
            "model": model,
            "story": [sentence.replace(facts.model, model) for sentence in story(facts)],
            "measured": list(_measured(facts)),
            "decided": list(_decided(facts)),
            "limits": list(_limits(facts)),
            "scorers": {name: _in_line(spec) for name, spec in facts.recipe.scorers.items()},
            "rules": [_in_line(rule) for rule in facts.recipe.selection],
            "iteration": told.iteration,
            "policy": told.policy or _policy(facts, told.iteration).get("hash", ""),
            "selection": told.selection,
            "section": told.section,
            "rows": told.rows,
            "base_policy": facts.summary.get("base_policy", ""),
            "engines": sorted({str(law.get("engine", "")) for law in facts.generators.values()}),
            "seed": facts.recipe.seed,
            "rsft": facts.summary.get("rsft", ""),
            "recipe": _dumped(_public(yaml.safe_load(facts.recipe_text))),
        },
    )


def _base_of(facts: Facts) -> dict[str, Any]:
    names = (name for name in facts.recipe.model if _ON_HUB.fullmatch(name) and not Path(name).exists())
    name = next(names, None)
    return {} if name is None else {"base_model": name}


def _index(facts: Facts, metrics: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": facts.name,
        "results": [
            {
                "task": {"type": "text-generation"},
                "dataset": {"name": "held-out prompts of the run", "type": "heldout"},
                "metrics": metrics,
            }
        ],
    }


def _metrics(facts: Facts, iteration: int | None) -> list[dict[str, Any]]:
    """What was measured of an iteration's policy; none for the base, whose numbers these are not."""
    part = next((part for part in facts.iterations if part["iteration"] == iteration), None)
    if part is None or "heldout_acceptance" not in part or facts.summary["fakes"]:
        return []
    found = {"acceptance": part["heldout_acceptance"], **part["heldout_scores"]}
    return [{"type": name, "name": name, "value": round(said["value"], 4)} for name, said in found.items()]


def _measured(facts: Facts) -> Iterator[tuple[str, ...]]:
    """Rows: what, and its value on held-out prompts."""
    for name, part in facts.measured:
        which = name if name == "base" else f"iteration {name}"
        yield f"acceptance, {which}", share(part["heldout_acceptance"])
    for key, name in (("gain_over_base", "gain over base"), ("gain_over_control", "gain over control")):
        if gain := facts.summary.get(key):
            yield name, share_gain(gain)
    for scorer, gains in facts.summary.get("heldout_score_gains", {}).items():
        for over, gain in gains.items():
            if gain:
                yield f"{scorer}, gain {over.replace('_', ' ')}", score_gain(gain)


def _decided(facts: Facts) -> Iterator[tuple[str, ...]]:
    """Rows: iteration, candidates, accepted, prompts with an accepted one."""
    for part in facts.iterations:
        if "accepted" in part:
            counts = (part[key] for key in ("candidates", "accepted", "prompts_solved"))
            yield str(part["iteration"]), *(f"{count:,}" for count in counts)


def _limits(facts: Facts) -> Iterator[str]:
    """What the numbers do not say. Nothing here is guessed: each line follows from what the run did or did not do."""
    summary = facts.summary
    if fakes := summary.get("fakes"):
        yield f"Fakes took part ({', '.join(fakes)}): no number here says anything about a model."
    if not facts.is_finished:
        yield f"The run is not finished ({facts.state})."
    if facts.base:
        count = facts.base["heldout_acceptance"]["n"]
        yield f"It was measured on {count:,} held-out prompts, and on no others."
    else:
        yield "It was not measured on held-out prompts."
    if summary.get("gain_over_control") is None:
        yield "No control stands beside it: how much of a gain the rules have earned is not known."
    elif summary["gain_over_control"]["low"] <= 0:
        yield "The gain over a control that learns from randomly chosen replies is not established."
    yield "A reply passes where the scorers say so. What they do not look at, harm and truth among it, nobody checked."
    yield "It was made under one seed; another one gives other numbers."


def _policy(facts: Facts, iteration: int | None) -> Mapping[str, Any]:
    """An iteration's policy as the summary has it; empty for the base."""
    return next((part.get("policy", {}) for part in facts.iterations if part["iteration"] == iteration), {})


def _accepted(facts: Facts) -> int:
    return sum(part.get("accepted", 0) for part in facts.iterations)


def _public(said: Any) -> Any:
    """A recipe without the run's place, and with the names of files only where they lie somewhere on this disk."""
    if isinstance(said, dict):
        return {key: _public(value) for key, value in said.items() if key != "run"}
    if isinstance(said, list):
        return [_public(value) for value in said]
    return Path(said).name if isinstance(said, str) and said.startswith("/") else said


def _in_line(said: Any) -> str:
    """A scorer or rule as it may stand on one line of a recipe."""
    public = _public(said)
    if isinstance(public, str):
        return public
    text: str = yaml.safe_dump(public, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**6)
    return text.strip()


def _dumped(said: Any) -> str:
    text: str = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=100)
    return text.removesuffix("...\n")
