"""The stages of the loop, each resumable: what the run folder holds is done, and only the rest is owed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from rsft import failpoints, guards, lineage, notes, tuning
from rsft.anchors import anchor_rows
from rsft.bookkeeping import Arm, Books
from rsft.budget import Past, build_budget, lists_of_prompts, past_of, rest, tallies_of
from rsft.calibrating import bound, keep_lines
from rsft.config import Recipe
from rsft.drawing import Drawing, Drawn, Order
from rsft.errors import RunError, SelectionError
from rsft.evaluating import Evaluating
from rsft.evaluation import Evaluation
from rsft.forking import Fork, begin_fork, training_identity
from rsft.progress import Reporter
from rsft.scorers import (
    Baseline,
    Scorer,
    Standard,
    compare,
    measure,
    to_standardise,
    with_baseline,
    with_standards,
    without_standards,
)
from rsft.selection import Pool, all_whole, random_selection
from rsft.servers import SPENDING
from rsft.setup import Parts, Terms, refuse_many_processes, set_up
from rsft.speculation import Speculation, measured, spared
from rsft.store import RunFolder, round_name
from rsft.surroundings import note_surroundings
from rsft.tracking import tracked
from rsft.types import Candidate, CandidateKey, Decision, Policy, Prompt, SamplingParams
from rsft.watching import Watching

Decisions = Mapping[CandidateKey, Decision]
Rules = Callable[[Pool], Sequence[Decision]]

# Replies of the base policy that show the spread of scores, where this is wanted.
_STANDARD_PROMPTS, _STANDARD_SAMPLES = 64, 4
# Candidates that a control draws beyond those it will choose.
_SPARE = 3


@dataclass(frozen=True, slots=True)
class Round:
    """One of an iteration's rounds of training: one, unless the recipe improves further on the same candidates."""

    iteration: int
    number: int

    def of(self, arm: Arm) -> Arm:
        """What the books call an arm in this round."""
        return arm if self.number == 1 else round_name(arm, self.number)


class Stages:
    """The stages of one run, over its folder and its working parts."""

    def __init__(
        self, recipe: Recipe, folder: RunFolder, parts: Parts, tell: Reporter, earlier: Fork | None = None
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.tell = tell
        self.earlier = earlier
        self.books = Books(folder, tell)
        self._score_by(parts, parts.scorers)
        self.evaluations: dict[tuple[int, Arm], Evaluation] = {}
        self._baselines: dict[str, Drawn] = {}

    @classmethod
    @contextmanager
    def open(cls, recipe: Recipe, tell: Reporter, fork: Path | None = None) -> Iterator[Stages]:
        """The stages of the recipe's run. Makes the run folder, or checks that the one there is of this recipe. With
        `fork` it takes over from that run what is still valid."""
        refuse_many_processes()
        with RunFolder.open(Path(recipe.run), write=True) as folder:
            if fork is not None:
                begin_fork(folder, fork)
            parts = set_up(recipe, folder)
            note_surroundings(folder)
            prompts = {prompt.id: prompt for prompt in (*parts.train, *parts.heldout)}
            try:
                with Fork.open(folder, recipe, prompts) as earlier, tracked(recipe, tell):
                    yield cls(recipe, folder, parts, tell, earlier)
            finally:
                parts.close()
                SPENDING.write()

    @property
    def base(self) -> Policy:
        return self.parts.engine.base

    def _score_by(self, parts: Parts, scorers: dict[str, Scorer]) -> None:
        """From now on these scorers score."""
        self.parts = replace(parts, scorers=scorers)
        self.drawing = Drawing(self.folder, self.parts, self.recipe, self.tell, self.earlier)
        self.evaluating = Evaluating(self.recipe, self.drawing, self.books)

    def _terms(self, iteration: int) -> Terms:
        return self.parts.terms[iteration - 1]

    def standardise(self) -> None:
        """Draw the base policy's greedy replies for scorers that compare with them, and measure the spread of those
        scores over its replies whose scorers want it, both once in a run; and note the scorers that decide from now on,
        and those that only look on."""
        if compare([*self.parts.scorers.values(), *self.parts.heldout_scorers.values()]):
            self._compare()
        scorers = self.parts.scorers
        if wanted := to_standardise(scorers):
            standards = self._standards(wanted, without_standards(scorers))
            self._score_by(self.parts, with_standards(scorers, standards))
        self.folder.note_scorers(_fingerprints(self.parts.scorers), _fingerprints(self.parts.heldout_scorers))

    def _compare(self) -> None:
        parts = self.parts
        prompts = [*parts.train, *parts.heldout]
        order = Order(dict.fromkeys((prompt.id for prompt in prompts), 1), self.evaluating.greedy_law)
        with self.books.stage(0, "policy", "compare", len(prompts), "replies") as note:
            self._score_by(parts, {})  # nobody need score what is only compared with
            (drawn,) = self.drawing.by_orders(0, self.base, [order])
            replies = {one.key.prompt_id: one.text for one in drawn.candidates if one.is_reply}
            baseline = Baseline(drawn.candidates[0].key.generator, replies)
            note.update(notes.of_drawn(drawn), generator=baseline.generator)
        heldout = with_baseline(parts.heldout_scorers, baseline)
        self._score_by(replace(parts, heldout_scorers=heldout), with_baseline(parts.scorers, baseline))

    def _standards(self, wanted: Sequence[str], scorers: dict[str, Scorer]) -> Mapping[str, Standard]:
        prompts = self.parts.train[:_STANDARD_PROMPTS]
        order = Order(dict.fromkeys((p.id for p in prompts), _STANDARD_SAMPLES), self.recipe.sampling.law())
        done = self.folder.stage_done(0, "policy", "standardise")
        with self.books.stage(0, "policy", "standardise", len(prompts) * _STANDARD_SAMPLES, "candidates") as note:
            self._score_by(self.parts, scorers)
            (drawn,) = self.drawing.by_orders(0, self.base, [order])
            if done is None:
                whole = [drawn.scores[candidate.key] for candidate in drawn.candidates if candidate.is_reply]
                note.update(notes.of_drawn(drawn), standards=measure(wanted, whole))
        # What was measured first stands, whatever a scorer that failed then has to say now.
        said = (done or note)["standards"]
        return {name: (mean, spread) for name, (mean, spread) in said.items()}

    # -- sample and score --------------------------------------------------------------------------------------------

    def tune(self, iteration: int, policy: Policy) -> SamplingParams:
        """The law that the iteration samples by; where the recipe wants it, its temperature is found by trying some."""
        sampling, selection = self._terms(iteration).recipe.sampling, self._terms(iteration).selection
        if sampling.temperature != "tune":
            return sampling.law()
        earlier = [self.folder.stage_done(i, "policy", "tune") for i in range(1, iteration)]
        before = next((float(note["temperature"]) for note in reversed(earlier) if note), None)
        wanted = tuning.tried_on(self.parts.train, sampling.candidates, self.recipe.seed)
        orders = [Order(wanted, sampling.law(temperature)) for temperature in tuning.temperatures(before)]
        accepts = tuning.accepted_in(selection)
        about = len(orders) * sum(wanted.values())
        with self.books.stage(iteration, "policy", "tune", about, "candidates") as note:
            tried = [
                {"temperature": order.params.temperature, "accepted": accepts(drawn.pool)}
                for order, drawn in zip(
                    orders, self.drawing.by_orders(iteration, policy, orders, self.parts.writers), strict=True
                )
            ]
            note.update(tried=tried, temperature=tuning.best_of(tried, before))
        done = self.folder.stage_done(iteration, "policy", "tune")
        assert done is not None
        return sampling.law(float(done["temperature"]))

    def sample(self, iteration: int, policy: Policy, law: SamplingParams) -> Drawn:
        """Draw candidates of the train prompts as the recipe's budget has it, score them, and keep both."""
        recipe, parts, selection = self._terms(iteration).recipe, self.parts, self._terms(iteration).selection
        past = self._past(iteration) if recipe.budget.carry_over else {}
        resting = rest(past, iteration, len(parts.train))
        budget = build_budget(recipe.budget, recipe.sampling, selection, parts.train, past, resting)
        speculation = self._speculation(iteration)
        watching = Watching.of(parts.scorers if recipe.budget.early_rejection else {}, selection, speculation)
        prompt_ids = [prompt.id for prompt in parts.train]
        about = (len(prompt_ids) - len(resting)) * recipe.sampling.candidates
        with self.books.stage(iteration, "policy", "sample", about, "candidates") as note:
            drawn = self.drawing.kept(iteration, self.folder.decisions("policy", iteration=iteration))
            if drawn is None:
                drawn = self.drawing.by_budget(iteration, policy, law, selection, budget, prompt_ids, watching)
            note.update(notes.of_drawn(drawn), generators=sorted({c.key.generator for c in drawn.candidates}))
            self._baselines = self._replies_to_compare_with(iteration, policy)
            note.update(baselines={name: one.candidates[0].key.generator for name, one in self._baselines.items()})
            note.update(ended_early=sum(candidate.finish_reason == "ended" for candidate in drawn.candidates))
            note.update(resting=sorted(resting), temperature=law.temperature)
            if told := [dict(writer.engine.told) for writer in parts.writers if writer.engine.told]:
                note.update(told=told)
            if speculation is not None:
                passing = [(one.candidate, one.scores) for one in self.evaluating.measured(drawn) if one.passed]
                lost = speculation.lost(passing, self.drawing.prompts, parts.engine.text)
                note.update(speculative=speculation.numbers | {"lost": lost})
        return drawn

    def _replies_to_compare_with(self, iteration: int, policy: Policy) -> dict[str, Drawn]:
        """The baselines that the recipe wants, of the train prompts that have one."""
        found: dict[str, Drawn] = {}
        if "greedy" in self.recipe.baselines:
            order = Order(dict.fromkeys((prompt.id for prompt in self.parts.train), 1), self.evaluating.greedy_law)
            (found["greedy"],) = self.drawing.by_orders(iteration, policy, [order])
        if "reference" in self.recipe.baselines:
            texts = {p.id: text for p in self.parts.train if isinstance(text := p.fields.get("reference"), str)}
            found["reference"] = self.drawing.given(iteration, texts, "reference")
        return {name: drawn for name, drawn in found.items() if drawn.candidates}

    def _speculation(self, iteration: int) -> Speculation | None:
        """Speculative rejection, if the recipe wants it, by what the iteration before says of beginnings."""
        said, parts = self._terms(iteration).recipe.budget.speculative, self.parts
        if said is None or iteration == 1:
            return None
        scores = self.folder.own_scores(iteration=iteration - 1)
        decided = self.folder.decisions("policy", iteration=iteration - 1)
        whole = [c for c in self.folder.candidates(iteration=iteration - 1) if c.key in decided and c.is_reply]
        if (self.folder.stage_done(iteration - 1, "policy", "sample") or {}).get("speculative"):
            whole = [candidate for candidate in whole if spared(candidate.key.prompt_id)]
        replies = [(candidate, scores[candidate.key]) for candidate in whole]
        return measured(said, parts.scorers[said.by], replies, self.drawing.prompts, parts.engine.text)

    def _past(self, iteration: int) -> dict[str, Past]:
        """How each prompt fared in the last iteration before this one that drew candidates of it."""
        past: dict[str, Past] = {}
        for earlier in range(1, iteration):
            decided = self.folder.decisions("policy", iteration=earlier)
            drawn = [candidate for candidate in self.folder.candidates(iteration=earlier) if candidate.key in decided]
            past |= past_of(earlier, decided, drawn, self.folder.own_scores(iteration=earlier))
        return past

    def sample_control(self, iteration: int, arm: Arm, policy: Policy, law: SamplingParams, chosen: Decisions) -> Drawn:
        """Draw enough candidates of a control's own policy to choose as many of each prompt as the real arm had.

        A random choice among the recipe's number has the same law as one among fewer, so the random control draws only
        some more than it needs, for those that the length limit cuts. All of them come to their own end: a choice among
        those that no rule ended early would not be random.
        """
        most = self._terms(iteration).recipe.sampling.candidates
        if arm == "unfiltered":
            wanted: Mapping[str, int] = Counter(key.prompt_id for key in chosen)
        else:
            counts = accepted_counts(chosen)
            wanted = {prompt_id: min(max(most, count), count + _SPARE) for prompt_id, count in counts.items()}
        with self.books.stage(iteration, arm, "sample", sum(wanted.values()), "candidates") as note:
            (drawn,) = self.drawing.by_orders(iteration, policy, [Order(wanted, law)], self.parts.writers)
            note.update(notes.of_drawn(drawn))
        return drawn

    # -- select ------------------------------------------------------------------------------------------------------

    def rounds(self, iteration: int) -> list[Round]:
        """The iteration's rounds of training."""
        return [Round(iteration, number) for number, _ in enumerate(self._terms(iteration).rounds, 1)]

    def select(self, training: Round, drawn: Drawn) -> Decisions:
        """Apply the recipe's rules. Raises SelectionError, with the rules that rejected most, if nothing is left; and
        where a threshold is to be certified, and the labels don't do it."""
        iteration = training.iteration
        terms = self._terms(iteration)

        def rules(pool: Pool) -> Sequence[Decision]:
            beside = pool.beside({name: one.by_prompt for name, one in self._baselines.items()})
            selection = terms.rounds[training.number - 1]
            with_lines = bound(selection, self.folder, terms.recipe, iteration)
            keep_lines(with_lines, self.folder, iteration)
            return with_lines.decide(beside)

        return self._select(iteration, training.of("policy"), drawn, rules)

    def select_for_control(self, training: Round, arm: Arm, drawn: Drawn, chosen: Decisions) -> Decisions:
        """A control's choice, whatever the scores: as many of each prompt, at random, as the real arm accepted in this
        round; the unfiltered one takes every whole reply."""
        counts = accepted_counts(chosen)
        seed = self.recipe.seed * 1000 + training.iteration
        rules = all_whole if arm == "unfiltered" else partial(random_selection, counts=counts, seed=seed)
        return self._select(training.iteration, training.of(arm), drawn, rules)

    def _select(self, iteration: int, arm: Arm, drawn: Drawn, rules: Rules) -> Decisions:
        decided = self.folder.decisions(arm, iteration=iteration)
        there = bool(decided)
        if there and self.folder.stage_done(iteration, arm, "select") is not None:
            return decided
        with self.books.stage(iteration, arm, "select", len(drawn.candidates), "candidates") as note:
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
                note.update(lists_of_prompts(tallies, self._terms(iteration).recipe.sampling.candidates))
                note.update(notes.lengths(drawn, decided))
                note.update(notes.phrases(drawn, decided, self.drawing.prompts))
            if not counts:
                raise SelectionError(notes.nothing_accepted(iteration, note))
            if not there:
                self.folder.commit(decisions={arm: decided})
        return decided

    # -- train -------------------------------------------------------------------------------------------------------

    def train(self, training: Round, arm: Arm, policy: Policy) -> Policy:
        """Train on what was accepted, from base or onwards from `policy`, with some anchors among it. A further round
        goes on from the one before."""
        trained = self.folder.policies.trained(training.iteration, training.of(arm))
        if trained is not None:
            return trained
        iteration, named = training.iteration, training.of(arm)
        terms = self._terms(iteration)
        said = terms.recipe.training
        start = self.base if said.start_from == "base" and training.number == 1 else policy
        learnt_from = set(range(1, iteration + 1) if said.accumulates else [iteration])
        accepted = self._accepted(named, learnt_from - lineage.taken_back(self.folder, iteration))
        with self.books.stage(iteration, named, "train") as note:
            steps = 0

            def progress(step: int, of: int) -> None:
                nonlocal steps
                if steps == 0:
                    self.books.begin(iteration, arm, "train", of, "steps")
                self.tell.advance(step - steps)
                steps = step
                failpoints.reached("train.step")

            def judge(policy: Policy, prompts: Sequence[Prompt]) -> float:
                of_run = [prompt for prompt in prompts if prompt.id in self.drawing.prompts]  # no anchors
                self.books.begin(iteration, arm, "train", len(of_run), "replies")
                return self.evaluating.share_passed(iteration, policy, of_run)

            where = self.folder.iteration_path(iteration, named)
            anchors = anchor_rows(self.parts.anchors, said.anchor, len(accepted), iteration, self.recipe.seed)
            rows = [(self.drawing.prompts[candidate.key.prompt_id], candidate) for candidate in accepted] + anchors
            identity = training_identity(terms.recipe, start, rows)
            result = self.earlier.training(identity, where / "weights") if self.earlier else None
            if result is None:
                self.parts.release()
                result = terms.trainer.train(
                    lambda: self.parts.student.network,
                    rows,
                    start,
                    where / "weights",
                    self.recipe.seed,
                    progress,
                    judge,
                )
            self._refuse_another(training, arm, result.policy)
            learnt = {"rows": [asdict(c.key) for c in accepted], "anchors": [anchor.id for anchor, _ in anchors]}
            self.folder.write_json(where / "training.json", {"log": result.log, **learnt})
            steps = max((entry["step"] for entry in result.log), default=0)
            note.update(rows=len(accepted), anchors=len(anchors), steps=steps, identity=identity)
            note.update(
                policy=self.folder.policies.note(result.policy), files=self.folder.policies.checksums(result.policy)
            )
        return result.policy

    def _refuse_another(self, training: Round, arm: Arm, policy: Policy) -> None:
        """Raise RunError where a policy was trained again, because its weights were damaged, and is not the same."""
        lost = self.folder.policies.lost(training.iteration, training.of(arm))
        if lost not in (None, policy.hash):
            raise RunError(
                f"The weights of iteration {training.iteration} ({training.of(arm)}) were damaged, and training again "
                f"gave others (policy {policy.hash}, not {lost}), as it may on another kind of machine. What came "
                "after them rests on the lost ones. Bring these back, or start a run that takes over what is valid "
                f"(--fork {self.folder.path})."
            )

    def _accepted(self, arm: Arm, iterations: Collection[int]) -> list[Candidate]:
        """The accepted candidates of these iterations, in the order of their keys."""
        accepted = []
        for iteration in iterations:
            decided = self.folder.decisions(arm, iteration=iteration)
            of_iteration = self.folder.candidates(iteration=iteration)
            accepted += [c for c in of_iteration if c.key in decided and decided[c.key].accepted]
        return sorted(accepted, key=lambda candidate: candidate.key)

    # -- evaluate ----------------------------------------------------------------------------------------------------

    def evaluate(self, iteration: int, arm: Arm, policy: Policy) -> None:
        """Measure a policy on the held-out prompts, if there are any."""
        evaluation = self.evaluating.evaluate(iteration, arm, policy)
        if evaluation is not None:
            self.evaluations[iteration, arm] = evaluation

    # -- look back ---------------------------------------------------------------------------------------------------

    def look_back(self, iteration: int) -> str | None:
        """Ask the guards about the run so far: whether it must stop, or roll_back to its best policy. What they found
        is an event of the run."""
        with self.books.stage(iteration, "policy", "guard") as note:
            history = self._history(iteration)
            found = guards.alarms(self.recipe.guards, history)
            disowned = guards.disowns(found)
            best = history.best_before if disowned else history.best
            note.update(alarms=[asdict(alarm) for alarm in found], act=guards.act(found), best=best, disowned=disowned)
            note["events"] = [("guard", {"iteration": iteration, **asdict(alarm)}) for alarm in found]
            for alarm in found:
                self.tell.say(f"iteration {iteration}, {alarm.guard} ({alarm.act}): {alarm.why}")
        done = self.folder.stage_done(iteration, "policy", "guard")
        assert done is not None
        return str(done["act"]) if done["act"] else None

    def _history(self, iteration: int) -> guards.History:
        solved: set[str] = set()
        for earlier in range(1, iteration + 1):
            solved |= accepted_counts(self.folder.decisions("policy", iteration=earlier)).keys()
        train = {prompt.id for prompt in self.parts.train}
        return guards.History(
            iteration,
            {i: one for (i, arm), one in self.evaluations.items() if arm == "policy"},
            self.recipe.evaluation.best_is_by,
            disowned=lineage.disowned(self.folder),
            accepted=sum(accepted_counts(self.folder.decisions("policy", iteration=iteration)).values()),
            unsolved=len(train - solved),
            prompts=len(train),
        )

    def sets_out(self, iteration: int, arm: Arm) -> Policy:
        """The policy of an arm that an iteration sets out from: that of the iteration before, or the best one where the
        run went back to that. Raises RunError if there is none yet."""
        earlier = lineage.set_out_from(self.folder, iteration)
        policy = self.folder.policies.of(earlier, arm) if earlier else self.base
        if policy is None:
            raise RunError(f"The run {self.folder.path} has no policy of iteration {earlier} ({arm}) to go on from.")
        return policy


def accepted_counts(decisions: Decisions) -> Counter[str]:
    """How many candidates of each prompt were accepted; prompts without any are left out."""
    return Counter(key.prompt_id for key, decision in decisions.items() if decision.accepted)


def _fingerprints(scorers: Mapping[str, Scorer]) -> dict[str, str]:
    return {name: scorer.fingerprint for name, scorer in scorers.items()}
