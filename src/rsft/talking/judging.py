"""What a run's scorers say of a reply in a conversation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rsft.config import Recipe
from rsft.engines.base import Engine, Request
from rsft.errors import UserError
from rsft.scorers import Combined, Scorer, build_scorers, compare, run_scorer, with_baseline, with_standards
from rsft.scorers.base import Baseline
from rsft.selection import Pool, Selection
from rsft.setup import measuring_rules
from rsft.store import RunFolder
from rsft.talking.conversation import Reply
from rsft.types import Candidate, CandidateKey, Decision, Prompt, SamplingParams, Score
from rsft.types import Reply as Scored

_FIELD = re.compile(r"field '([^']+)'")
_RAISED = re.compile(r"^(ValueError|KeyError): ")
UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Judged:
    """A speaker's reply with the run's scorers' words on it, those of its held-out scorers, and the verdict of the
    rules that judge a candidate by itself: accepted, rejected, or undecided, where the rule reads a score that there
    is none of. `needs` are the fields that scorers miss."""

    speaker: str
    scores: Mapping[str, Score]
    heldout_scores: Mapping[str, Score]
    verdict: str
    rule: str
    explanation: str
    needs: Sequence[str] = ()

    @property
    def all_scores(self) -> Mapping[str, Score]:
        """By selecting and held-out scorers, which have no name in common."""
        return {**self.scores, **self.heldout_scores}

    def shown(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


@dataclass(slots=True)
class Judging:
    """The run's scorers, made ready when they are first asked. One that can't work here says why, reply by reply."""

    run: Path
    recipe: Recipe
    engine: Engine
    _scorers: dict[str, Scorer] | None = None
    _heldout: dict[str, Scorer] = field(default_factory=dict)
    _broken: dict[str, str] = field(default_factory=dict)

    def judged(self, replies: Mapping[str, Reply]) -> list[Judged]:
        """Each speaker's reply that has something to score. Raises a UserError where the scorers can't be built."""
        if self._scorers is None:
            self._make_ready()
        return [self._judged(name, reply) for name, reply in replies.items() if reply.candidate is not None]

    def _make_ready(self) -> None:
        scorers = build_scorers(self.recipe.scorers, self.recipe.model)
        with RunFolder.open(self.run, write=False) as folder:
            standards = (folder.stage_done(0, "policy", "standardise") or {}).get("standards")
        if standards is not None:
            scorers = with_standards(scorers, {name: (mean, spread) for name, (mean, spread) in standards.items()})
        self._heldout = build_scorers(self.recipe.evaluation.scorers, self.recipe.model)
        for name, scorer in (*scorers.items(), *self._heldout.items()):
            try:
                scorer.prepare()
            except UserError as error:
                self._broken[name] = str(error)
        self._scorers = scorers

    def _judged(self, speaker: str, reply: Reply) -> Judged:
        assert self._scorers is not None
        assert reply.candidate is not None
        prompt = replace(reply.prompt, id=f"chat of {speaker}")
        candidate = replace(reply.candidate, key=replace(reply.candidate.key, prompt_id=prompt.id), text=reply.text)
        said = self._scores(self._compared(self._scorers, prompt), prompt, candidate)
        heldout = self._scores(self._compared(self._heldout, prompt), prompt, candidate)
        rules = measuring_rules(self.recipe)
        (decision,) = rules.judge(Pool.scored([candidate], {candidate.key: said}))
        verdict = "accepted" if decision.accepted else UNDECIDED if _lacks(rules, decision, said) else "rejected"
        needs = {one for score in (*said.values(), *heldout.values()) if (one := _needed(score, prompt))}
        return Judged(speaker, said, heldout, verdict, decision.rule, decision.explanation, sorted(needs))

    def _scores(self, scorers: Mapping[str, Scorer], prompt: Prompt, candidate: Candidate) -> dict[str, Score]:
        reply, said = Scored(prompt, candidate.text, candidate.token_ids), dict[str, Score]()
        for name, scorer in scorers.items():  # parts come before what combines them
            if name in self._broken:
                said[name] = Score.failed(self._broken[name])
            elif isinstance(scorer, Combined):
                said[name] = scorer.combine(said)
            else:
                said[name] = _plainly(scorer, reply)
        return said

    def _compared(self, scorers: Mapping[str, Scorer], prompt: Prompt) -> Mapping[str, Scorer]:
        """The scorers, of which those that compare with the base's greedy reply know the one to this conversation."""
        if not compare(scorers.values()):
            return scorers
        law = SamplingParams(temperature=0, max_tokens=self.recipe.sampling.max_tokens)
        request = Request(CandidateKey(0, prompt.id, 0, "chat"), prompt, 0, law)
        (drawn,) = self.engine.sample(self.engine.base, [request])
        return with_baseline(scorers, Baseline("chat", {prompt.id: drawn.text}))


def _plainly(scorer: Scorer, reply: Scored) -> Score:
    try:
        (score,) = run_scorer(scorer, [reply])
    except UserError as error:
        return Score.failed(str(error))
    return score if score.failure is None else Score.failed(_RAISED.sub("", score.failure))


def _lacks(rules: Selection, decision: Decision, said: Mapping[str, Score]) -> bool:
    """Whether the rule that decided reads a score that there is none of."""
    read = (name for rule in rules.rules if rule.name == decision.rule for name in rule.scorers_used)
    return any(said[name].value is None for name in read)


def _needed(score: Score, prompt: Prompt) -> str | None:
    """The field that a scorer misses, if that is why it failed."""
    found = _FIELD.search(score.failure or "")
    return found[1] if found and not prompt.fields.get(found[1]) else None
