"""What a policy does on held-out prompts, and how two policies compare on the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rsft import metrics
from rsft.selection.pool import stable_hash
from rsft.text import normalise, word_count, words
from rsft.types import Candidate, Interval, Score

_PASS_AT = (1, 2, 4, 8, 16, 32)
# Self-BLEU and the Vendi score compare each reply with each: of more, a fixed part is looked at.
_MOST_COMPARED = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """One held-out reply: the candidate, its scores by scorer name, and whether it passes the thresholds."""

    candidate: Candidate
    scores: Mapping[str, Score]
    passed: bool


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A policy's replies to held-out prompts: one greedy reply to each prompt, and samples for some or all of them."""

    greedy: Mapping[str, Measured]
    sampled: Mapping[str, Sequence[Measured]]

    @property
    def acceptance(self) -> Interval:
        """The share of prompts whose greedy reply passes; Wilson interval."""
        return metrics.share([reply.passed for reply in self.greedy.values()])

    def gain_over(self, other: Evaluation) -> Interval:
        """The paired difference in greedy acceptance on the prompts of both; bootstrap interval over prompts."""
        both = [prompt_id for prompt_id in self.greedy if prompt_id in other.greedy]
        return metrics.paired_difference(
            [float(self.greedy[prompt_id].passed) for prompt_id in both],
            [float(other.greedy[prompt_id].passed) for prompt_id in both],
        )

    def numbers(self) -> dict[str, Any]:
        """Everything that was measured, ready for JSON."""
        replies = list(self.greedy.values())
        said: dict[str, Any] = {
            "heldout_acceptance": asdict(self.acceptance),
            "scores": _score_means(replies),
            **_text_numbers(replies),
        }
        if self.sampled:
            said["sampled"] = self._sampled_numbers()
        return said

    def _sampled_numbers(self) -> dict[str, Any]:
        families = list(self.sampled.values())
        replies = [reply for family in families for reply in family]
        drawn = min(map(len, families))
        passed = [sum(reply.passed for reply in family[:drawn]) for family in families]
        return {
            "acceptance": asdict(metrics.mean([count / drawn for count in passed])),
            "pass_at": {str(k): metrics.pass_at(k, passed, drawn) for k in _PASS_AT if k <= drawn},
            "samples_per_prompt": drawn,
            **_text_numbers(replies),
        }


def _score_means(replies: Sequence[Measured]) -> dict[str, Any]:
    names = sorted({name for reply in replies for name in reply.scores})
    said = {}
    for name in names:
        values = [reply.scores[name].value for reply in replies if name in reply.scores]
        known = [value for value in values if value is not None]
        said[name] = {**asdict(metrics.mean(known)), "failed": len(values) - len(known)}
    return said


def _text_numbers(replies: Sequence[Measured]) -> dict[str, Any]:
    said = [words(normalise(reply.candidate.text)) for reply in replies]
    compared = [said[place] for place in _compared(replies) if said[place]]
    return {
        "distinct_1": metrics.distinct(1, said),
        "distinct_2": metrics.distinct(2, said),
        "self_bleu": metrics.self_bleu(compared),
        "vendi": metrics.vendi(metrics.gram_kernel(compared)),
        "mean_words": sum(word_count(reply.candidate.text) for reply in replies) / max(1, len(replies)),
        "mean_tokens": sum(len(reply.candidate.token_ids) for reply in replies) / max(1, len(replies)),
        "cut_share": sum(reply.candidate.finish_reason == "length" for reply in replies) / max(1, len(replies)),
        "failed": sum(reply.candidate.finish_reason == "failed" for reply in replies),
    }


def _compared(replies: Sequence[Measured]) -> list[int]:
    """The places of the replies that are compared with each other: the same ones, whatever their order and text."""
    keys = [reply.candidate.key for reply in replies]
    by_lot = sorted(range(len(keys)), key=lambda i: stable_hash(keys[i].prompt_id, keys[i].sample_index))
    return by_lot[:_MOST_COMPARED]
