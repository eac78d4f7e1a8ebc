"""What a recipe asks of a reply, for arms that go without the rest of rsft."""

from __future__ import annotations

from collections.abc import Sequence

from rsft.config import Recipe
from rsft.scorers import Combined, build_scorers, run_in_batches
from rsft.selection import Pool, parse_selection
from rsft.types import Candidate, CandidateKey, Prompt, Reply


class Checks:
    """A recipe's scorers and those of its rules that judge a reply by itself."""

    def __init__(self, recipe: Recipe) -> None:
        self._scorers = build_scorers(recipe.scorers)
        if any(isinstance(scorer, Combined) for scorer in self._scorers.values()):
            raise NotImplementedError("a scorer that combines others")
        for scorer in self._scorers.values():
            scorer.prepare()
        self._selection = parse_selection(recipe.selection)

    def passed(self, prompts: Sequence[Prompt], texts: Sequence[str], whole: Sequence[bool]) -> list[bool]:
        """Whether each text, a reply to the prompt in its place, passes. One that was cut off does not."""
        replies = [Reply(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
        columns = {name: run_in_batches(scorer, replies) for name, scorer in self._scorers.items()}
        candidates = [
            Candidate(CandidateKey(0, reply.prompt.id, place, ""), reply.text, (), "stop" if ended else "length", 0, 0)
            for place, (reply, ended) in enumerate(zip(replies, whole, strict=True))
        ]
        scores = {
            candidate.key: {name: said[place] for name, said in columns.items()}
            for place, candidate in enumerate(candidates)
        }
        return [decision.accepted for decision in self._selection.judge(Pool.scored(candidates, scores))]
