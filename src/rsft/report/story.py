"""What happened, in three sentences: templates over the run's numbers, and nothing that these do not say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rsft.report.facts import Facts
from rsft.wording import score_gain, share, share_gain


def story(facts: Facts) -> list[str]:
    """What was done, what came of it, and what to mind."""
    return [_done(facts), _came_of_it(facts), _to_mind(facts)]


def _done(facts: Facts) -> str:
    decided, planned = facts.distributions, facts.recipe.loop.iterations
    unfinished = "" if facts.is_finished else f"The run is not finished ({facts.state}): "
    if not decided:
        return f"{unfinished or 'So far '}no iteration of {planned} has decided on its candidates yet."
    drawn, accepted = (sum(part[key] for part in decided) for key in ("candidates", "accepted"))
    count = f"{len(decided)} of {planned} iterations" if len(decided) < planned else _many(planned, "iteration")
    prompts = max(part["prompts"]["prompts"] for part in decided)
    trained = [part["trained_on"] for part in facts.iterations if "trained_on" in part]
    learnt = f", and the last policy was trained on {_many(trained[-1], 'reply', 'replies')}" if trained else ""
    return (
        f"{unfinished}{'in' if unfinished else 'In'} {count} of {facts.model} {_many(drawn, 'reply', 'replies')} to "
        f"{_many(prompts, 'prompt')} were drawn, of which the rules accepted {accepted:,} "
        f"({accepted / max(1, drawn):.0%}){learnt}."
    )


def _came_of_it(facts: Facts) -> str:
    if not facts.summary:
        return "What was measured is told once the first iteration is through."
    if not facts.summary["prompts"]["heldout"]:
        return "Nothing is held out, so no number here says whether the policy got better."
    if not facts.base:
        return "The base was not measured on held-out prompts yet, so nothing can be said of a gain."
    base = facts.base["heldout_acceptance"]
    found = f"Of {_many(base['n'], 'held-out prompt')} the base passes on {share(base)}"
    best, gain = facts.best, facts.summary["gain_over_base"]
    if best is None or gain is None:
        return f"{found}, and no trained policy was measured yet."
    policy = f"and the policy of iteration {best['iteration']}, the best, on {share(best['heldout_acceptance'])}"
    return f"{found} {policy}: a gain of {share_gain(gain)}{_established(gain)}; {_over_control(facts)}."


def _over_control(facts: Facts) -> str:
    gain = facts.summary["gain_over_control"]
    if gain is None:
        return "without a control beside it, nothing says how much of that the rules have earned"
    return f"over the control it is {share_gain(gain)}{_established(gain)}"


def _established(gain: Mapping[str, Any]) -> str:
    if gain["high"] < 0:
        return ", which is a loss"
    return ", which is not established since its interval includes zero" if gain["low"] <= 0 else ""


def _to_mind(facts: Facts) -> str:
    said = "; ".join(_caveats(facts))
    return f"Mind: {said}." if said else _handed_back(facts)


def _caveats(facts: Facts) -> Iterator[str]:
    summary = facts.summary
    if fakes := summary.get("fakes"):
        yield f"fakes took part ({', '.join(fakes)}), so the numbers say nothing about a model"
    if stopped := summary.get("stopped"):
        yield f"the guard '{stopped['guard']}' stopped the run in iteration {stopped['iteration']}"
    if facts.iterations and summary.get("handed_back") == 0:
        yield "no iteration is better than the base, so the base model is what is handed back"
    for name, gains in summary.get("heldout_score_gains", {}).items():
        gain = gains["over_base"]
        if gain and gain["high"] < 0:
            yield f"{name}, which never selects, fell against the base by {score_gain(gain)}"
    if habits := summary.get("habits"):
        grew = (f"'{phrase}' (from {said[0]:.0%} of the prompts to {said[-1]:.0%})" for phrase, said in habits.items())
        yield f"habits grow among accepted replies: {', '.join(grew)}"
    others = [alarm["guard"] for alarm in summary.get("alarms", ()) if alarm != summary.get("stopped")]
    if others:
        names = ", ".join(dict.fromkeys(others))
        yield f"{_many(len(others), 'alarm')} rang ({names})"


def _handed_back(facts: Facts) -> str:
    handed_back = facts.summary.get("handed_back")
    if not handed_back:
        return "No policy can be handed back yet."
    by = facts.summary["best_by"]
    return f"No guard rang, and what is handed back is the policy of iteration {handed_back}, the best by {by}."


def _many(count: int, one: str, several: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else several or one + 's'}"
