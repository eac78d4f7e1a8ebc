"""The stages of the loop, each resumable: what the run folder holds is done, and only the rest is owed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from rsft import failpoints
from rsft.budget import Past, build_budget, lists_of_prompts, past_of, rest, tallies_of
from rsft.calibrating import bound
from rsft.config import Recipe
from rsft.drawing import Drawing, Drawn, Order
from rsft.errors import SelectionError
from rsft.evaluation import Evaluation, Measured
from rsft.progress import Reporter
from rsft.scorers import Scorer, Standard, measure, to_standardise, with_standards, without_standards
from rsft.selection import Pool, random_selection
from rsft.setup import Parts, refuse_many_processes, set_up
from rsft.speculation import Speculation, measured, spared
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey, Decision, Policy, Prompt, SamplingParams
from rsft.watching import Watching

Arm = str
"""policy, control, or a set of decisions that somebody named."""
Rules = Callable[[Pool], Sequence[Decision]]

# Replies of the base policy that show the spread of scores, where this is wanted.
_STANDARD_PROMPTS, _STANDARD_SAMPLES = 64, 4
# Candidates that the control draws beyond those it will choose.
_SPARE = 3


class Stages:
    """The stages of one run, over its folder and its working parts."""

    def __init__(self, recipe: Recipe, folder: RunFolder, parts: Parts, tell: Reporter) -> None:
        self.recipe = recipe
        self.folder = folder
        self.tell = tell
        self._score_by(parts, parts.scorers)
        self.evaluations: dict[tuple[int, Arm], Evaluation] = {}
        self._baselines: dict[str, Drawn] = {}

    @classmethod
    @contextmanager
    def open(cls, recipe: Recipe, tell: Reporter) -> Iterator[Stages]:
        """The stages of the recipe's run. Makes the run folder, or checks that the one there is of this recipe."""
        refuse_many_processes()
        with RunFolder.open(Path(recipe.run), write=True) as folder:
            yield cls(recipe, folder, set_up(recipe, folder), tell)

    @property
    def base(self) -> Policy:
        return self.parts.engine.base

    def _score_by(self, parts: Parts, scorers: dict[str, Scorer]) -> None:
        """From now on these scorers score."""
        self.parts = replace(parts, scorers=scorers)
        self.drawing = Drawing(self.folder, self.parts, self.recipe, self.tell)

    def standardise(self) -> None:
        """Measure the spread of those scores over the base policy's replies whose scorers want it, once in a run; and
        note the scorers that decide from now on."""
        scorers = self.parts.scorers
        if wanted := to_standardise(scorers):
            standards = self._standards(wanted, without_standards(scorers))
            self._score_by(self.parts, with_standards(scorers, standards))
        self.folder.note_scorers({name: scorer.fingerprint for name, scorer in self.parts.scorers.items()})

    def _standards(self, wanted: Sequence[str], scorers: dict[str, Scorer]) -> Mapping[str, Standard]:
        done = self.folder.stage_done(0, "policy", "standardise")
        if done is not None:
            return {name: (mean, spread) for name, (mean, spread) in done["standards"].items()}
        prompts = self.parts.train[:_STANDARD_PROMPTS]
        order = Order(dict.fromkeys((p.id for p in prompts), _STANDARD_SAMPLES), self.recipe.sampling.params)
        with self._stage(0, "policy", "standardise", len(prompts) * _STANDARD_SAMPLES, "candidates") as note:
            self._score_by(self.parts, scorers)
            (drawn,) = self.drawing.by_orders(0, self.base, [order])
            whole = [drawn.scores[candidate.key] for candidate in drawn.candidates if candidate.is_reply]
            standards = measure(wanted, whole)
            note.update(_drawn_numbers(drawn), standards=standards)
        return standards

    # -- sample and score --------------------------------------------------------------------------------------------

    def sample(self, iteration: int, policy: Policy) -> Drawn:
        """Draw candidates of the train prompts as the recipe's budget has it, score them, and keep both."""
        recipe, parts = self.recipe, self.parts
        past = self._past(iteration) if recipe.budget.carry_over else {}
        resting = rest(past, iteration, len(parts.train))
        budget = build_budget(recipe.budget, recipe.sampling, parts.selection, parts.train, past, resting)
        speculation = self._speculation(iteration)
        watching = Watching.of(parts.scorers if recipe.budget.early_rejection else {}, parts.selection, speculation)
        prompt_ids = [prompt.id for prompt in parts.train]
        about = (len(prompt_ids) - len(resting)) * recipe.sampling.candidates
        with self._stage(iteration, "policy", "sample", about, "candidates") as note:
            drawn = self.drawing.by_budget(iteration, policy, recipe.sampling.params, budget, prompt_ids, watching)
            note.update(_drawn_numbers(drawn), generators=sorted({c.key.generator for c in drawn.candidates}))
            self._baselines = self._replies_to_compare_with(iteration, policy)
            note.update(baselines={name: one.candidates[0].key.generator for name, one in self._baselines.items()})
            note.update(ended_early=sum(candidate.finish_reason == "ended" for candidate in drawn.candidates))
            note.update(resting=sorted(resting))
            if speculation is not None:
                passing = [(reply.candidate, reply.scores) for reply in self._measured(drawn) if reply.passed]
                lost = speculation.lost(passing, self.drawing.prompts, parts.engine.text)
                note.update(speculative=speculation.numbers | {"lost": lost})
        return drawn

    def _replies_to_compare_with(self, iteration: int, policy: Policy) -> dict[str, Drawn]:
        """The baselines that the recipe wants, of the train prompts that have one."""
        found: dict[str, Drawn] = {}
        if "greedy" in self.recipe.baselines:
            order = Order(dict.fromkeys((prompt.id for prompt in self.parts.train), 1), self._greedy_law)
            (found["greedy"],) = self.drawing.by_orders(iteration, policy, [order])
        if "reference" in self.recipe.baselines:
            texts = {p.id: text for p in self.parts.train if isinstance(text := p.fields.get("reference"), str)}
            found["reference"] = self.drawing.given(iteration, texts, "reference")
        return {name: drawn for name, drawn in found.items() if drawn.candidates}

    def _speculation(self, iteration: int) -> Speculation | None:
        """Speculative rejection, if the recipe wants it, by what the iteration before says of beginnings."""
        said, parts = self.recipe.budget.speculative, self.parts
        if said is None or iteration == 1:
            return None
        scores = self.folder.own_scores(iteration=iteration - 1)
        decided = self.folder.decisions("policy", iteration=iteration - 1)
        whole = [c for c in self.folder.candidates(iteration=iteration - 1) if c.key in decided and c.is_reply]
        if (self.folder.stage_done(iteration - 1, "policy", "sample") or {}).get("speculative"):
            whole = [candidate for candidate in whole if spared(candidate.key.prompt_id)]
        replies = [(candidate, scores[candidate.key]) for candidate in whole]
        return measured(said, parts.scorers[said.by], replies, self.drawing.prompts, parts.engine.text)

    def sample_control(self, iteration: int, control: Policy, accepted: Mapping[CandidateKey, Decision]) -> Drawn:
        """Draw enough candidates to choose at random as many of each prompt as were `accepted`.

        A random choice among the recipe's number has the same law as one among fewer, so the control draws only some
        more than it needs, for those that the length limit cuts. All of them come to their own end: a choice among
        those that no rule ended early would not be random.
        """
        most = self.recipe.sampling.candidates
        counts = accepted_counts(accepted)
        wanted = {prompt_id: min(max(most, count), count + _SPARE) for prompt_id, count in counts.items()}
        with self._stage(iteration, "control", "sample", sum(wanted.values()), "candidates") as note:
            (drawn,) = self.drawing.by_orders(iteration, control, [Order(wanted, self.recipe.sampling.params)])
            note.update(_drawn_numbers(drawn))
        return drawn

    def _past(self, iteration: int) -> dict[str, Past]:
        """How each prompt fared in the last iteration before this one that drew candidates of it."""
        past: dict[str, Past] = {}
        for earlier in range(1, iteration):
            decided = self.folder.decisions("policy", iteration=earlier)
            drawn = [candidate for candidate in self.folder.candidates(iteration=earlier) if candidate.key in decided]
            past |= past_of(earlier, decided, drawn, self.folder.own_scores(iteration=earlier))
        return past

    # -- select ------------------------------------------------------------------------------------------------------

    def select(self, iteration: int, arm: Arm, drawn: Drawn) -> dict[CandidateKey, Decision]:
        """Apply the recipe's rules. Raises SelectionError, with the rules that rejected most, if nothing is left; and
        where a threshold is to be certified, and the labels don't do it."""

        def rules(pool: Pool) -> Sequence[Decision]:
            beside = pool.beside({name: one.by_prompt for name, one in self._baselines.items()})
            return bound(self.parts.selection, self.folder, self.recipe, iteration).decide(beside)

        return self._select(iteration, arm, drawn, rules)

    def select_at_random(
        self, iteration: int, arm: Arm, drawn: Drawn, accepted: Mapping[CandidateKey, Decision]
    ) -> dict[CandidateKey, Decision]:
        """The control's choice: of each prompt as many candidates, chosen at random, as were `accepted`."""
        counts = accepted_counts(accepted)
        seed = self.recipe.seed * 1000 + iteration
        return self._select(iteration, arm, drawn, lambda pool: random_selection(pool, counts, seed))

    def _select(self, iteration: int, arm: Arm, drawn: Drawn, rules: Rules) -> dict[CandidateKey, Decision]:
        with self._stage(iteration, arm, "select", len(drawn.candidates), "candidates") as note:
            decided = self.folder.decisions(arm, iteration=iteration)
            there = bool(decided)
            if not there:
                decisions = rules(drawn.pool)
                decided = dict(zip((c.key for c in drawn.candidates), decisions, strict=True))
            counts = accepted_counts(decided)
            note.update(
                candidates=len(decided),
                accepted=sum(counts.values()),
                prompts_solved=len(counts),
                rejected_by=dict(Counter(d.rule for d in decided.values() if not d.accepted).most_common()),
            )
            if arm == "policy":
                tallies = tallies_of(decided, drawn.candidates)
                note.update(lists_of_prompts(tallies, self.recipe.sampling.candidates))
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
                [(self.drawing.prompts[candidate.key.prompt_id], candidate) for candidate in accepted],
                self.base if from_base else policy,
                where / "weights",
                self.recipe.seed,
                progress,
                partial(self._judge, iteration, arm),
            )
            self.folder.write_json(
                where / "training.json", {"log": result.log, "rows": [asdict(c.key) for c in accepted]}
            )
            steps = max((entry["step"] for entry in result.log), default=0)
            note.update(rows=len(accepted), steps=steps, policy=self.folder.note_of(result.policy))
        return result.policy

    def _judge(self, iteration: int, arm: Arm, policy: Policy, prompts: Sequence[Prompt]) -> float:
        """The share of these conversations to which the policy's greedy reply passes."""
        self.tell.begin(_title(iteration, arm, "train"), len(prompts), "replies")
        order = Order(dict.fromkeys((prompt.id for prompt in prompts), 1), self._greedy_law)
        (drawn,) = self.drawing.by_orders(iteration, policy, [order])
        passed = [reply.passed for reply in self._measured(drawn)]
        return sum(passed) / len(passed)

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
        for_samples = self.parts.heldout[: wanted.sampled_prompts] if wanted.samples else []
        total = len(self.parts.heldout) + wanted.samples * len(for_samples)
        with self._stage(iteration, arm, "evaluate", total, "replies") as note:
            one_each = dict.fromkeys((prompt.id for prompt in self.parts.heldout), 1)
            many_each = dict.fromkeys((prompt.id for prompt in for_samples), wanted.samples)
            orders = [Order(one_each, self._greedy_law), Order(many_each, self.recipe.sampling.params, start=1)]
            greedy, sampled = self.drawing.by_orders(iteration, policy, orders)
            evaluation = Evaluation(
                greedy={reply.candidate.key.prompt_id: reply for reply in self._measured(greedy)},
                sampled=_by_prompt(self._measured(sampled)),
            )
            self.evaluations[iteration, arm] = evaluation
            note.update(evaluation.numbers())

    @property
    def _greedy_law(self) -> SamplingParams:
        return SamplingParams(temperature=0, max_tokens=self.recipe.sampling.max_tokens)

    def _measured(self, drawn: Drawn) -> list[Measured]:
        if not drawn.candidates:
            return []
        decisions = self.parts.selection.judge(drawn.pool)
        return [
            Measured(candidate, drawn.scores[candidate.key], decision.accepted)
            for candidate, decision in zip(drawn.candidates, decisions, strict=True)
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


def _drawn_numbers(drawn: Drawn) -> dict[str, Any]:
    return {
        "candidates": len(drawn.candidates),
        "tokens": sum(len(candidate.token_ids) for candidate in drawn.candidates),
        "drawn_tokens": drawn.drawn_tokens,
        "unneeded_tokens": drawn.unneeded_tokens,
        "prompts": len({candidate.key.prompt_id for candidate in drawn.candidates}),
        "failed": sum(candidate.finish_reason == "failed" for candidate in drawn.candidates),
    }


def _by_prompt(replies: Sequence[Measured]) -> dict[str, list[Measured]]:
    families: dict[str, list[Measured]] = {}
    for reply in replies:
        families.setdefault(reply.candidate.key.prompt_id, []).append(reply)
    return families


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
    what = {
        "standardise": "measuring the spread of scores",
        "sample": "sampling",
        "select": "selecting",
        "train": "training",
        "evaluate": "evaluating",
    }[stage]
    if iteration == 0:
        return f"base · {what}"
    return f"iteration {iteration} · {'' if arm == 'policy' else f'{arm} · '}{what}"


def _line(stage: str, note: Mapping[str, Any]) -> str:
    """What came of a stage, in one line."""
    seconds = note["seconds"]
    if stage == "standardise":
        return ", ".join(f"{name} {mean:.3g} ± {spread:.2g}" for name, (mean, spread) in note["standards"].items())
    if stage == "sample":
        rate = f", {note['drawn_tokens'] / max(seconds, 1e-9):.0f} tokens/s" if note["drawn_tokens"] else ""
        early = f", {note['ended_early']} ended early" if note.get("ended_early") else ""
        return f"{note['candidates']} candidates{early}, {note['tokens']} tokens{rate}"
    if stage == "select":
        return f"accepted {note['accepted']} of {note['candidates']} candidates, of {note['prompts_solved']} prompts"
    if stage == "train":
        return f"{note['rows']} accepted replies, {note['steps']} steps, {seconds:.0f} s"
    acceptance = note["heldout_acceptance"]
    low, high = 100 * acceptance["low"], 100 * acceptance["high"]
    return f"held-out {acceptance['value']:.1%} [{low:.1f}, {high:.1f}], n = {acceptance['n']}"
