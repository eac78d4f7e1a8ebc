"""What the stages say of what they did: numbers for their notes, and reasons."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from rsft.drawing import Drawn
from rsft.habits import shared_phrases
from rsft.metrics import spearman
from rsft.text import word_count
from rsft.types import CandidateKey, Decision, Prompt

# Accepted replies in which phrases are looked for.
_LOOKED_AT = 10_000


def of_drawn(drawn: Drawn) -> dict[str, Any]:
    """How much was drawn: what counts, and what it cost."""
    return {
        "candidates": len(drawn.candidates),
        "tokens": sum(len(candidate.token_ids) for candidate in drawn.candidates),
        "drawn_tokens": drawn.drawn_tokens,
        "unneeded_tokens": drawn.unneeded_tokens,
        "prompts": len({candidate.key.prompt_id for candidate in drawn.candidates}),
        "failed": sum(candidate.finish_reason == "failed" for candidate in drawn.candidates),
        "failed_scores": failed_scores(drawn),
    }


def failed_scores(drawn: Drawn) -> dict[str, dict[str, Any]]:
    """Of each scorer that failed on whole replies: on how many of them, and a reason."""
    found: dict[str, dict[str, Any]] = {}
    whole = [drawn.scores[candidate.key] for candidate in drawn.candidates if candidate.is_reply]
    for name in sorted({name for said in whole for name in said}):
        failures = [said[name].failure for said in whole if name in said and said[name].value is None]
        if failures:
            found[name] = {"failed": len(failures), "of": len(whole), "reason": failures[0]}
    return found


def lengths(drawn: Drawn, decided: Mapping[CandidateKey, Decision]) -> dict[str, Any]:
    """Whether scores go with length: the mean words of whole and of accepted replies, and each score's rank correlation
    (Spearman) with the words of a reply."""
    whole = [candidate for candidate in drawn.candidates if candidate.is_reply]
    counts = {candidate.key: word_count(candidate.text) for candidate in whole}
    accepted = [count for key, count in counts.items() if decided[key].accepted]
    correlations = {}
    for name in sorted({name for candidate in whole for name in drawn.scores[candidate.key]}):
        values = {candidate.key: drawn.scores[candidate.key][name].value for candidate in whole}
        known = [(counts[key], value) for key, value in values.items() if value is not None]
        correlations[name] = spearman([count for count, _ in known], [value for _, value in known])
    return {
        "whole_words": fmean(counts.values()) if counts else None,
        "accepted_words": fmean(accepted) if accepted else None,
        "length_correlations": correlations,
    }


def phrases(
    drawn: Drawn, decided: Mapping[CandidateKey, Decision], prompts: Mapping[str, Prompt]
) -> dict[str, dict[str, float]]:
    """The phrases that accepted replies share, by the share of the prompts whose replies say them."""
    accepted = [candidate for candidate in drawn.candidates if decided[candidate.key].accepted][:_LOOKED_AT]
    said = {
        name: "\n".join(turn.content for turn in prompts[name].messages) for name in {c.key.prompt_id for c in accepted}
    }
    return {"phrases": shared_phrases((said[one.key.prompt_id], one.text) for one in accepted)}


def nothing_accepted(iteration: int, note: Mapping[str, Any]) -> str:
    """Which rules rejected everything, and what to try."""
    rules = "\n".join(f"  - {rule}: rejected {count}" for rule, count in note["rejected_by"].items())
    return (
        f"Iteration {iteration} accepted none of {note['candidates']} candidates, so there is nothing to train on.\n"
        f"{rules}\n"
        "Look at them (rsft show RUN --rejected). Then draw more candidates (--set sampling.candidates=...), help the "
        "model with a template, or relax a rule, in another run folder (--set run=...). No threshold is ever lowered "
        "by itself."
    )
