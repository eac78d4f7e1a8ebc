"""Measuring policies on the held-out prompts. What was measured of a policy once is not drawn again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from rsft import metrics
from rsft.bookkeeping import Arm, Books
from rsft.config import Recipe
from rsft.drawing import Drawing, Order
from rsft.drawn import Drawn
from rsft.evaluated import evaluated
from rsft.evaluation import Evaluation, Measured
from rsft.types import Policy, Prompt, SamplingParams

# The divergence from the base is estimated on one sample of each of so many prompts.
_DIVERGENCE_PROMPTS = 64


class Evaluating:
    """Measures policies by the rules that judge a reply by itself, and by the held-out scorers."""

    def __init__(self, recipe: Recipe, drawing: Drawing, books: Books) -> None:
        self.recipe = recipe
        self.drawing = drawing
        self.books = books

    def evaluate(self, iteration: int, arm: Arm, policy: Policy) -> Evaluation | None:
        """A policy on all held-out prompts greedily, and on some or all by samples. Without such prompts, None."""
        heldout, wanted = self.drawing.parts.heldout, self.recipe.evaluation
        if not heldout:
            return None
        known = evaluated(self.drawing.folder, self.recipe, iteration, arm, self.drawing.parts.selection)
        if known is not None and not known.lacks_scores:
            return known
        for_samples = heldout[: wanted.sampled_prompts] if wanted.samples else []
        total = len(heldout) + wanted.samples * len(for_samples)
        with self.books.stage(iteration, arm, "evaluate", total, "replies") as note:
            orders = [
                Order(dict.fromkeys((prompt.id for prompt in heldout), 1), self.greedy_law),
                Order(dict.fromkeys((prompt.id for prompt in for_samples), wanted.samples), self._sampled_law, start=1),
            ]
            drawn_in = self._drawn_in(iteration, policy)
            greedy, sampled = self.drawing.by_orders(drawn_in, policy, orders)
            evaluation = Evaluation.of([*self._judged(greedy), *self.measured(sampled)])
            note.update(evaluation.numbers(), of_policy=policy.hash, drawn_in=drawn_in)
            note.update(replies=len(greedy.candidates) + len(sampled.candidates))
            if known is None:
                note.update(kl_from_base=self._divergence(policy, sampled))
        return evaluation

    def share_passed(self, iteration: int, policy: Policy, prompts: Sequence[Prompt]) -> float:
        """The share of these conversations to which the policy's greedy reply passes."""
        order = Order(dict.fromkeys((prompt.id for prompt in prompts), 1), self.greedy_law)
        (drawn,) = self.drawing.by_orders(iteration, policy, [order])
        passed = [reply.passed for reply in self.measured(drawn)]
        return sum(passed) / max(1, len(passed))

    def measured(self, drawn: Drawn) -> list[Measured]:
        """Each reply with its scores, and whether it passes the rules that judge one by itself."""
        if not drawn.candidates:
            return []
        decisions = self.drawing.parts.selection.judge(drawn.pool)
        return [
            Measured(candidate, drawn.scores[candidate.key], decision)
            for candidate, decision in zip(drawn.candidates, decisions, strict=True)
        ]

    @property
    def greedy_law(self) -> SamplingParams:
        return SamplingParams(temperature=0, max_tokens=self.recipe.sampling.max_tokens)

    # -- inside ------------------------------------------------------------------------------------------------------

    @property
    def _sampled_law(self) -> SamplingParams:
        """One law for all iterations, whatever they sample by."""
        return self.recipe.sampling.law(self.recipe.evaluation.temperature)

    def _drawn_in(self, iteration: int, policy: Policy) -> int:
        """The iteration whose held-out replies are this policy's: an earlier one if it was measured there."""
        for stage in self.drawing.folder.stages():
            note = stage["info"] or {}
            if stage["stage"] == "evaluate" and stage["status"] == "done" and note.get("of_policy") == policy.hash:
                return int(note["drawn_in"])
        return iteration

    def _judged(self, drawn: Drawn) -> list[Measured]:
        """The replies as measured, with what held-out scorers say of them."""
        judges = self.drawing.parts.heldout_scorers
        said = self.drawing.scored_by(judges, drawn) if judges else {}
        return [replace(one, heldout_scores=said.get(one.candidate.key, {})) for one in self.measured(drawn)]

    def _divergence(self, policy: Policy, sampled: Drawn) -> Mapping[str, Any] | None:
        """KL(policy ‖ base) of a whole reply, in nats: how much likelier the policy holds replies that it sampled than
        the base does, on average, both at the sampling law's temperature, cuts and penalties left out. Without bias
        where the law has neither. None without samples, or where the engine can't tell."""
        first = {candidate.key.prompt_id: candidate for candidate in reversed(sampled.candidates) if candidate.is_reply}
        replies = [(self.drawing.prompts[prompt_id], candidate) for prompt_id, candidate in sorted(first.items())]
        replies = replies[:_DIVERGENCE_PROMPTS]
        engine = self.drawing.parts.engine
        if not replies:
            return None
        if policy == engine.base:
            return asdict(metrics.mean([0.0] * len(replies)))
        temperature = self._sampled_law.temperature
        own = engine.reply_logprobs(policy, replies, temperature)
        base = engine.reply_logprobs(engine.base, replies, temperature)
        if own is None or base is None:
            return None
        return asdict(metrics.mean([ours - theirs for ours, theirs in zip(own, base, strict=True)]))
