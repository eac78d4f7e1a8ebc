"""What a policy does on held-out prompts, and how two policies compare on the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rsft import metrics
from rsft.selection.pool import stable_hash
from rsft.text import normalise, word_count, words
from rsft.types import Candidate, Decision, Interval, Score

ACCEPTANCE = "acceptance"
"""The score of a held-out reply that is 1 if it passes the rules, and 0 if not."""

_PASS_AT = (1, 2, 4, 8, 16, 32)
# Self-BLEU and the Vendi score compare each reply with each: of more, a fixed part is looked at.
_MOST_COMPARED = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """One held-out reply: the candidate, its scores by scorer name, what the rules that judge a reply by itself decide
    on it, and what held-out scorers say of it."""

    candidate: Candidate
    scores: Mapping[str, Score]
    decision: Decision
    heldout_scores: Mapping[str, Score] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.decision.accepted

    @property
    def all_scores(self) -> Mapping[str, Score]:
        """By selecting and held-out scorers, which have no name in common."""
        return {**self.scores, **self.heldout_scores}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A policy's replies to held-out prompts: one greedy reply to each prompt, and samples for some or all of them."""

    greedy: Mapping[str, Measured]
    sampled: Mapping[str, Sequence[Measured]]

    @classmethod
    def of(cls, replies: Sequence[Measured]) -> Evaluation:
        """Of each prompt sample 0 is the greedy reply."""
        greedy: dict[str, Measured] = {}
        sampled: dict[str, list[Measured]] = {}
        for reply in replies:
            key = reply.candidate.key
            if key.sample_index:
                sampled.setdefault(key.prompt_id, []).append(reply)
            else:
                greedy[key.prompt_id] = reply
        return cls(greedy, sampled)

    @property
    def acceptance(self) -> Interval:
        """The share of prompts whose greedy reply passes; Wilson interval."""
        return metrics.share([reply.passed for reply in self.greedy.values()])

    def score(self, by: str = ACCEPTANCE) -> Interval:
        """The mean over prompts of the greedy reply's acceptance, or of a scorer's word on it."""
        return self.acceptance if by == ACCEPTANCE else metrics.mean(list(self.values(by).values()))

    def values(self, by: str) -> dict[str, float]:
        """That score by prompt; where the scorer failed, or said nothing, there is none."""
        if by == ACCEPTANCE:
            return {prompt_id: float(reply.passed) for prompt_id, reply in self.greedy.items()}
        said = {prompt_id: reply.all_scores.get(by) for prompt_id, reply in self.greedy.items()}
        return {prompt_id: score.value for prompt_id, score in said.items() if score and score.value is not None}

    def gain_over(self, other: Evaluation, by: str = ACCEPTANCE) -> Interval:
        """The paired difference in that score on the prompts of both; bootstrap interval over prompts."""
        return paired(self.values(by), other.values(by))

    def solved_more_than(self, other: Evaluation) -> Interval:
        """The paired difference in the share of prompts that one of their samples solves, as many of each looked at."""
        drawn = min(self.samples, other.samples)
        return paired(self.solved(drawn), other.solved(drawn))

    def among(self, prompt_ids: Sequence[str]) -> Evaluation:
        """What was measured on some of the prompts, in their order."""
        greedy = {prompt_id: self.greedy[prompt_id] for prompt_id in prompt_ids if prompt_id in self.greedy}
        sampled = {prompt_id: self.sampled[prompt_id] for prompt_id in prompt_ids if prompt_id in self.sampled}
        return Evaluation(greedy, sampled)

    @property
    def samples(self) -> int:
        """So many samples there are of each prompt that has some, at least."""
        return min(map(len, self.sampled.values()), default=0)

    def solved(self, drawn: int) -> dict[str, float]:
        """Of each prompt with samples whether one of the first `drawn` passes."""
        return {prompt: float(share > 0) for prompt, share in self.passing(drawn).items()}

    def passing(self, drawn: int) -> dict[str, float]:
        """Of each prompt with samples the share of its first `drawn` that passes."""
        families = {prompt: family[:drawn] for prompt, family in self.sampled.items() if drawn}
        return {prompt: sum(reply.passed for reply in family) / drawn for prompt, family in families.items()}

    @property
    def lacks_scores(self) -> bool:
        """Whether a scorer failed on a reply: it may have more to say if it is asked again."""
        replies = [*self.greedy.values(), *(reply for family in self.sampled.values() for reply in family)]
        whole = [reply for reply in replies if reply.candidate.is_reply]
        return any(score.value is None for reply in whole for score in reply.all_scores.values())

    @property
    def mean_words(self) -> float:
        """The mean length of greedy replies."""
        return _mean_words(list(self.greedy.values()))

    @property
    def unique_share(self) -> float | None:
        """The mean over prompts of the share of different texts among their samples; None without several samples."""
        texts = [[normalise(reply.candidate.text) for reply in family] for family in self.sampled.values()]
        shares = [len(set(said)) / len(said) for said in texts if len(said) > 1]
        return sum(shares) / len(shares) if shares else None

    def numbers(self) -> dict[str, Any]:
        """Everything that was measured, ready for JSON."""
        replies = list(self.greedy.values())
        said: dict[str, Any] = {
            "heldout_acceptance": asdict(self.acceptance),
            "heldout_scores": _score_means([reply.heldout_scores for reply in replies]),
            "scores": _score_means([reply.scores for reply in replies]),
            **_text_numbers(replies),
        }
        if self.sampled:
            said["sampled"] = self._sampled_numbers()
        return said

    def _sampled_numbers(self) -> dict[str, Any]:
        families = list(self.sampled.values())
        replies = [reply for family in families for reply in family]
        drawn = self.samples
        passed = [sum(reply.passed for reply in family[:drawn]) for family in families]
        return {
            "acceptance": asdict(metrics.mean([count / drawn for count in passed])),
            "pass_at": {str(k): metrics.pass_at(k, passed, drawn) for k in _PASS_AT if k <= drawn},
            "best_of": {"samples": drawn, **asdict(metrics.share([count > 0 for count in passed]))},
            "samples_per_prompt": drawn,
            "entropy": _entropy([reply.candidate for reply in replies]),
            "unique_share": self.unique_share,
            **_text_numbers(replies),
        }


def paired(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Interval:
    """The paired difference between values by prompt, on the prompts of both; bootstrap interval over prompts."""
    both = [prompt_id for prompt_id in ours if prompt_id in theirs]
    return metrics.paired_difference([ours[prompt_id] for prompt_id in both], [theirs[prompt_id] for prompt_id in both])


def _entropy(candidates: Sequence[Candidate]) -> float | None:
    """Nats a token of the sampling law, which a sample's own surprise estimates without bias. None where nobody told
    the log-probabilities."""
    surprises = [-one.logprob for one in candidates if one.logprob is not None and not one.retokenised]
    if len(surprises) < len(candidates):
        return None
    return sum(surprises) / max(1, sum(len(one.token_ids) for one in candidates))


def _score_means(replies: Sequence[Mapping[str, Score]]) -> dict[str, Any]:
    said = {}
    for name in sorted({name for scores in replies for name in scores}):
        values = [scores[name].value for scores in replies if name in scores]
        known = [value for value in values if value is not None]
        said[name] = {**asdict(metrics.mean(known)), "failed": len(values) - len(known)}
    return said


def _mean_words(replies: Sequence[Measured]) -> float:
    return sum(word_count(reply.candidate.text) for reply in replies) / max(1, len(replies))


def _text_numbers(replies: Sequence[Measured]) -> dict[str, Any]:
    said = [words(normalise(reply.candidate.text)) for reply in replies]
    compared = [said[place] for place in _compared(replies) if said[place]]
    return {
        "distinct_1": metrics.distinct(1, said),
        "distinct_2": metrics.distinct(2, said),
        "self_bleu": metrics.self_bleu(compared),
        "vendi": metrics.vendi(metrics.gram_kernel(compared)),
        "mean_words": _mean_words(replies),
        "mean_tokens": sum(len(reply.candidate.token_ids) for reply in replies) / max(1, len(replies)),
        "cut_share": sum(reply.candidate.finish_reason == "length" for reply in replies) / max(1, len(replies)),
        "failed": sum(reply.candidate.finish_reason == "failed" for reply in replies),
    }


def _compared(replies: Sequence[Measured]) -> list[int]:
    """The places of the replies that are compared with each other: the same ones, whatever their order and text."""
    keys = [reply.candidate.key for reply in replies]
    by_lot = sorted(range(len(keys)), key=lambda i: stable_hash(keys[i].prompt_id, keys[i].sample_index))
    return by_lot[:_MOST_COMPARED]
