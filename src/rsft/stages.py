"""The stages of the loop, each resumable: what the run folder holds is done, and only the rest is owed."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rsft import failpoints
from rsft.config import Recipe
from rsft.engines.base import Request, stream_seed
from rsft.errors import SelectionError, StoreError
from rsft.evaluation import Evaluation, Measured
from rsft.progress import Reporter
from rsft.scorers import Scorer, run_scorer
from rsft.selection import Pool, random_selection
from rsft.setup import Parts, set_up
from rsft.store import RunFolder, ScoreRow
from rsft.types import Candidate, CandidateKey, Decision, Policy, Prompt, Reply, SamplingParams, Score

Arm = Literal["policy", "control"]
Rules = Callable[[Pool], Sequence[Decision]]

# Candidates that are sampled and committed together, in multiples of those that the engine works on at a time. A chunk
# is drawn whole or again, so that an interrupted run forms the same batches as an uninterrupted one and draws the same
# candidates to the last bit.
_CHUNK = 4
_SCORING_BATCH = 64
# Candidates that the control draws beyond those it will choose.
_SPARE = 3


@dataclass(frozen=True, slots=True)
class Order:
    """Candidates `start` to `start` + wanted of each prompt, by one law."""

    wanted: Mapping[str, int]
    params: SamplingParams
    start: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """Candidates with their scores, in the order of their keys. `drawn_tokens` counts those that were drawn just now:
    the others were there already, from before an interruption or from the other arm."""

    candidates: Sequence[Candidate]
    scores: Mapping[CandidateKey, Mapping[str, Score]]
    drawn_tokens: int

    @property
    def pool(self) -> Pool:
        return Pool.scored(self.candidates, self.scores)


class Stages:
    """The stages of one run, over its folder and its working parts."""

    def __init__(self, recipe: Recipe, folder: RunFolder, parts: Parts, tell: Reporter) -> None:
        self.recipe = recipe
        self.folder = folder
        self.parts = parts
        self.tell = tell
        self.prompts = {prompt.id: prompt for prompt in (*parts.train, *parts.heldout)}
        self.evaluations: dict[tuple[int, Arm], Evaluation] = {}

    @classmethod
    @contextmanager
    def open(cls, recipe: Recipe, tell: Reporter) -> Iterator[Stages]:
        """The stages of the recipe's run. Makes the run folder, or checks that the one there is of this recipe."""
        with RunFolder.open(Path(recipe.run), write=True) as folder:
            yield cls(recipe, folder, set_up(recipe, folder), tell)

    @property
    def base(self) -> Policy:
        return self.parts.engine.base

    def candidates_wanted(self, accepted: Mapping[CandidateKey, Decision] | None = None) -> dict[str, int]:
        """How many candidates to draw for each prompt: the recipe's number, or enough to choose as many as `accepted`.

        A random choice among the recipe's number has the same law as one among fewer, so the control draws only some
        more than it needs, for those that the length limit cuts.
        """
        most = self.recipe.sampling.candidates
        if accepted is None:
            return dict.fromkeys((prompt.id for prompt in self.parts.train), most)
        counts = accepted_counts(accepted)
        return {p.id: min(most, counts[p.id] + _SPARE) for p in self.parts.train if p.id in counts}

    # -- sample and score --------------------------------------------------------------------------------------------

    def sample(self, iteration: int, arm: Arm, policy: Policy, wanted: Mapping[str, int]) -> Scored:
        """Draw the wanted candidates of the train prompts, score them, and keep both."""
        with self._stage(iteration, arm, "sample", sum(wanted.values()), "candidates") as note:
            (scored,) = self._sampled(iteration, policy, [Order(wanted, self.recipe.sampling.params)])
            tokens = sum(len(candidate.token_ids) for candidate in scored.candidates)
            note.update(
                candidates=len(scored.candidates),
                tokens=tokens,
                drawn_tokens=scored.drawn_tokens,
                prompts=len(wanted),
                failed=sum(candidate.finish_reason == "failed" for candidate in scored.candidates),
            )
        return scored

    def _sampled(self, iteration: int, policy: Policy, orders: Sequence[Order]) -> list[Scored]:
        """What was ordered, drawn where it is not there yet, with scores. Orders of one prompt are drawn together."""
        generators = [self._generator(policy, order.params) for order in orders]
        requested = [
            [
                self._request(CandidateKey(iteration, prompt_id, index, generator), order.params)
                for prompt_id, count in order.wanted.items()
                for index in range(order.start, order.start + count)
            ]
            for order, generator in zip(orders, generators, strict=True)
        ]
        there = {
            key
            for generator in set(generators)
            for key in self.folder.candidate_keys(iteration=iteration, generator=generator)
        }
        drawn: dict[CandidateKey, int] = {}  # with the tokens of each
        for chunk in self._chunks([request for requests in requested for request in requests]):
            owed = [request for request in chunk if request.key not in there]
            self.tell.advance(len(chunk) - len(owed))
            if not owed:
                continue
            candidates = []
            for candidate in self.parts.engine.sample(policy, owed):
                candidates.append(candidate)
                failpoints.reached("sample.drawn")
                self.tell.advance(1, len(candidate.token_ids))
            _reconcile(owed, candidates)
            self.folder.commit(candidates=candidates)
            drawn |= {candidate.key: len(candidate.token_ids) for candidate in candidates}
        return [
            self._complete(iteration, generator, {request.key for request in requests}, drawn)
            for generator, requests in zip(generators, requested, strict=True)
        ]

    def _request(self, key: CandidateKey, params: SamplingParams) -> Request:
        seed = stream_seed(self.recipe.seed, key.iteration, key.prompt_id, key.sample_index)
        return Request(key, self.prompts[key.prompt_id], seed, params)

    def _chunks(self, requests: Sequence[Request]) -> Iterator[list[Request]]:
        """Prompts of similar length together, as many as keep the engine busy; the same ones whenever asked."""
        by_prompt: dict[str, list[Request]] = {}
        for request in requests:
            by_prompt.setdefault(request.prompt.id, []).append(request)
        chunk: list[Request] = []
        for prompt_id in sorted(by_prompt, key=lambda prompt_id: (_length(self.prompts[prompt_id]), prompt_id)):
            if chunk and len(chunk) + len(by_prompt[prompt_id]) > _CHUNK * self.parts.engine.rows:
                yield chunk
                chunk = []
            chunk = [*chunk, *by_prompt[prompt_id]]
        if chunk:
            yield chunk

    def _complete(
        self, iteration: int, generator: str, keys: Collection[CandidateKey], drawn: Mapping[CandidateKey, int]
    ) -> Scored:
        """An order's candidates with their scores; all that are wanted must be there."""
        candidates = [c for c in self.folder.candidates(iteration=iteration, generator=generator) if c.key in keys]
        if len(candidates) != len(keys):
            missing = sorted(set(keys) - {candidate.key for candidate in candidates})
            raise StoreError(f"{len(missing)} of {len(keys)} candidates are missing, the first of them {missing[0]}")
        drawn_tokens = sum(drawn.get(candidate.key, 0) for candidate in candidates)
        return Scored(candidates, self._scored(candidates, iteration, generator), drawn_tokens)

    def _scored(
        self, candidates: Sequence[Candidate], iteration: int, generator: str
    ) -> dict[CandidateKey, dict[str, Score]]:
        """All scores of the candidates: what the folder holds of these very scorers, the rest made now."""
        fingerprints = {name: scorer.fingerprint for name, scorer in self.parts.scorers.items()}
        scores = self.folder.scores(iteration=iteration, generator=generator, fingerprints=fingerprints)
        for name, scorer in self.parts.scorers.items():
            owed = [candidate for candidate in candidates if name not in scores.get(candidate.key, {})]
            for start in range(0, len(owed), _SCORING_BATCH):
                batch = owed[start : start + _SCORING_BATCH]
                said = self._score(scorer, batch)
                self.folder.commit(
                    scores=[ScoreRow(c.key, name, fingerprints[name], s) for c, s in zip(batch, said, strict=True)]
                )
                for candidate, score in zip(batch, said, strict=True):
                    scores.setdefault(candidate.key, {})[name] = score
        return {candidate.key: scores[candidate.key] for candidate in candidates}

    def _score(self, scorer: Scorer, candidates: Sequence[Candidate]) -> list[Score]:
        """One scorer's word on each candidate. One that is no whole reply has nothing to score."""
        drawn = [c for c in candidates if c.is_reply]
        replies = [Reply(self.prompts[c.key.prompt_id], c.text, c.token_ids) for c in drawn]
        said = dict(zip((c.key for c in drawn), run_scorer(scorer, replies), strict=True))
        return [said.get(c.key) or Score.failed(f"no whole reply: {c.why}") for c in candidates]

    def _generator(self, policy: Policy, params: SamplingParams) -> str:
        """The fingerprint of what draws: policy, engine and sampling law. What it stands for is kept in the ledger."""
        description = {"policy": policy.hash, **self.parts.engine.description, **asdict(params)}
        fingerprint = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:12]
        self.folder.ledger.add_generator(fingerprint, description)
        return fingerprint

    # -- select ------------------------------------------------------------------------------------------------------

    def select(self, iteration: int, arm: Arm, scored: Scored) -> dict[CandidateKey, Decision]:
        """Apply the recipe's rules. Raises SelectionError, with the rules that rejected most, if nothing is left."""
        return self._select(iteration, arm, scored, self.parts.selection.decide)

    def select_at_random(
        self, iteration: int, arm: Arm, scored: Scored, accepted: Mapping[CandidateKey, Decision]
    ) -> dict[CandidateKey, Decision]:
        """The control's choice: of each prompt as many candidates, chosen at random, as were `accepted`."""
        counts = accepted_counts(accepted)
        seed = self.recipe.seed * 1000 + iteration
        return self._select(iteration, arm, scored, lambda pool: random_selection(pool, counts, seed))

    def _select(self, iteration: int, arm: Arm, scored: Scored, rules: Rules) -> dict[CandidateKey, Decision]:
        with self._stage(iteration, arm, "select", len(scored.candidates), "candidates") as note:
            decided = self.folder.decisions(arm, iteration=iteration)
            there = bool(decided)
            if not there:
                decisions = rules(scored.pool)
                decided = dict(zip((c.key for c in scored.candidates), decisions, strict=True))
            counts = accepted_counts(decided)
            note.update(
                candidates=len(decided),
                accepted=sum(counts.values()),
                prompts_solved=len(counts),
                rejected_by=dict(Counter(d.rule for d in decided.values() if not d.accepted).most_common()),
            )
            if not counts:
                raise SelectionError(_nothing_accepted(iteration, note))
            if not there:
                self.folder.commit(decisions={arm: decided})
        return decided

    # -- train -------------------------------------------------------------------------------------------------------

    def train(self, iteration: int, arm: Arm, policy: Policy) -> Policy:
        """Train on what was accepted, from base on all iterations' or onwards from `policy` on this one's."""
        trained = self.folder.policy(iteration, arm)
        if trained is not None:
            return trained
        from_base = self.recipe.training.start_from == "base"
        accepted = self._accepted(arm, range(1, iteration + 1) if from_base else [iteration])
        with self._stage(iteration, arm, "train", 0, "steps") as note:
            steps = 0

            def progress(step: int, of: int) -> None:
                nonlocal steps
                if steps == 0:
                    self.tell.begin(_title(iteration, arm, "train"), of, "steps")
                self.tell.advance(step - steps)
                steps = step
                failpoints.reached("train.step")

            where = self.folder.iteration_path(iteration, arm)
            result = self.parts.trainer.train(
                self.parts.network,
                [(self.prompts[candidate.key.prompt_id], candidate) for candidate in accepted],
                self.base if from_base else policy,
                where / "weights",
                self.recipe.seed,
                progress,
            )
            self.folder.write_json(
                where / "training.json", {"log": result.log, "rows": [asdict(c.key) for c in accepted]}
            )
            note.update(rows=len(accepted), steps=steps, policy=self.folder.note_of(result.policy))
        return result.policy

    def _accepted(self, arm: Arm, iterations: Sequence[int] | range) -> list[Candidate]:
        """The accepted candidates of these iterations, in the order of their keys."""
        accepted = []
        for iteration in iterations:
            decided = self.folder.decisions(arm, iteration=iteration)
            of_iteration = self.folder.candidates(iteration=iteration)
            accepted += [c for c in of_iteration if c.key in decided and decided[c.key].accepted]
        return sorted(accepted, key=lambda candidate: candidate.key)

    # -- evaluate ----------------------------------------------------------------------------------------------------

    def evaluate(self, iteration: int, arm: Arm, policy: Policy) -> None:
        """Measure a policy on the held-out prompts: greedily on all, and by samples. Without such prompts, nothing."""
        if not self.parts.heldout:
            return
        wanted = self.recipe.evaluation
        greedy_law = SamplingParams(temperature=0, max_tokens=self.recipe.sampling.max_tokens)
        for_samples = self.parts.heldout[: wanted.sampled_prompts] if wanted.samples else []
        total = len(self.parts.heldout) + wanted.samples * len(for_samples)
        with self._stage(iteration, arm, "evaluate", total, "replies") as note:
            one_each = dict.fromkeys((prompt.id for prompt in self.parts.heldout), 1)
            many_each = dict.fromkeys((prompt.id for prompt in for_samples), wanted.samples)
            orders = [Order(one_each, greedy_law), Order(many_each, self.recipe.sampling.params, start=1)]
            greedy, sampled = self._sampled(iteration, policy, orders)
            evaluation = Evaluation(
                greedy={reply.candidate.key.prompt_id: reply for reply in self._measured(greedy)},
                sampled=_by_prompt(self._measured(sampled)),
            )
            self.evaluations[iteration, arm] = evaluation
            note.update(evaluation.numbers())

    def _measured(self, scored: Scored) -> list[Measured]:
        if not scored.candidates:
            return []
        decisions = self.parts.selection.judge(scored.pool)
        return [
            Measured(candidate, scored.scores[candidate.key], decision.accepted)
            for candidate, decision in zip(scored.candidates, decisions, strict=True)
        ]

    # -- bookkeeping -------------------------------------------------------------------------------------------------

    @contextmanager
    def _stage(self, iteration: int, arm: Arm, stage: str, total: int, unit: str) -> Iterator[dict[str, Any]]:
        """A stage, timed and announced; what is put into the note is kept with it once it is done.

        A stage that was done before passes in silence: it only reads again what the folder holds.
        """
        done = self.folder.stage_done(iteration, arm, stage)
        if done is not None:
            yield {}
            return
        self.folder.begin_stage(iteration, arm, stage)
        if total:
            self.tell.begin(_title(iteration, arm, stage), total, unit)
        note: dict[str, Any] = {}
        began = time.monotonic()
        yield note
        note["seconds"] = round(time.monotonic() - began, 3)
        self.folder.finish_stage(iteration, arm, stage, note)
        self.tell.end(_line(stage, note))


def accepted_counts(decisions: Mapping[CandidateKey, Decision]) -> Counter[str]:
    """How many candidates of each prompt were accepted; prompts without any are left out."""
    return Counter(key.prompt_id for key, decision in decisions.items() if decision.accepted)


def _length(prompt: Prompt) -> int:
    """Its characters."""
    return sum(len(message.content) for message in prompt.messages)


def _by_prompt(replies: Sequence[Measured]) -> dict[str, list[Measured]]:
    families: dict[str, list[Measured]] = {}
    for reply in replies:
        families.setdefault(reply.candidate.key.prompt_id, []).append(reply)
    return families


def _reconcile(owed: Sequence[Request], drawn: Sequence[Candidate]) -> None:
    wanted, got = Counter(request.key for request in owed), Counter(candidate.key for candidate in drawn)
    if wanted != got:
        wrong = sorted((wanted - got) | (got - wanted))
        raise StoreError(
            f"The engine was asked for {len(owed)} candidates and gave others, the first of them {wrong[0]}"
        )


def _nothing_accepted(iteration: int, note: Mapping[str, Any]) -> str:
    rules = "\n".join(f"  - {rule}: rejected {count}" for rule, count in note["rejected_by"].items())
    return (
        f"Iteration {iteration} accepted none of {note['candidates']} candidates, so there is nothing to train on.\n"
        f"{rules}\n"
        "Look at them (rsft show RUN --rejected). Then draw more candidates (--set sampling.candidates=...), help the "
        "model with a template, or relax a rule, in another run folder (--set run=...). No threshold is ever lowered "
        "by itself."
    )


def _title(iteration: int, arm: Arm, stage: str) -> str:
    what = {"sample": "sampling", "select": "selecting", "train": "training", "evaluate": "evaluating"}[stage]
    if iteration == 0:
        return f"base · {what}"
    return f"iteration {iteration} · {'control · ' if arm == 'control' else ''}{what}"


def _line(stage: str, note: Mapping[str, Any]) -> str:
    """What came of a stage, in one line."""
    seconds = note["seconds"]
    if stage == "sample":
        rate = f", {note['drawn_tokens'] / max(seconds, 1e-9):.0f} tokens/s" if note["drawn_tokens"] else ""
        return f"{note['candidates']} candidates, {note['tokens']} tokens{rate}"
    if stage == "select":
        return f"accepted {note['accepted']} of {note['candidates']} candidates, of {note['prompts_solved']} prompts"
    if stage == "train":
        return f"{note['rows']} accepted replies, {note['steps']} steps, {seconds:.0f} s"
    acceptance = note["heldout_acceptance"]
    low, high = 100 * acceptance["low"], 100 * acceptance["high"]
    return f"held-out {acceptance['value']:.1%} [{low:.1f}, {high:.1f}], n = {acceptance['n']}"
