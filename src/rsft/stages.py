"""The stages of the loop, each resumable: what the run folder holds is done, and only the rest is owed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from rsft import failpoints, guards, lineage, notes, tuning
from rsft.anchors import anchor_rows
from rsft.bookkeeping import Arm, Books
from rsft.budget import Past, build_budget, rest
from rsft.calibrating import bound, keep_lines
from rsft.choosing import choose, has_all
from rsft.config import Recipe
from rsft.decided import Fared, accepted_candidates
from rsft.drawing import Drawing, Order, portions
from rsft.drawn import Drawn, Sampled
from rsft.earlier import past_in
from rsft.errors import RunError
from rsft.evaluating import Evaluating
from rsft.evaluation import Evaluation
from rsft.forking import Fork, begin_fork, training_identity
from rsft.ids import Ids
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
from rsft.selection import Selection, all_whole, random_selection
from rsft.servers import SPENDING
from rsft.setup import Parts, Terms, refuse_many_processes, set_up
from rsft.speculation import Lost, Speculation, measured, spared
from rsft.store import RunFolder, round_name
from rsft.surroundings import note_surroundings
from rsft.tracking import tracked
from rsft.types import Candidate, Policy, Prompt, SamplingParams
from rsft.watching import Watching

# Replies of the base policy that show the spread of scores, where this is wanted.
_STANDARD_PROMPTS, _STANDARD_SAMPLES = 64, 4
# Candidates that a control draws beyond those it will choose.
_SPARE = 3
# Candidates of an iteration that speculation is measured on.
_SPECULATED_ON = 20_000


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
            standards, drawn = self._standards(wanted, without_standards(scorers))
            self._score_by(self.parts, with_standards(scorers, standards))
            self.drawing.scored_by(self.parts.scorers, drawn)
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
            note.update(notes.Total(drawn).numbers, generator=baseline.generator)
        heldout = with_baseline(parts.heldout_scorers, baseline)
        self._score_by(replace(parts, heldout_scorers=heldout), with_baseline(parts.scorers, baseline))

    def _standards(self, wanted: Sequence[str], scorers: dict[str, Scorer]) -> tuple[Mapping[str, Standard], Drawn]:
        prompts = self.parts.train[:_STANDARD_PROMPTS]
        order = Order(dict.fromkeys((p.id for p in prompts), _STANDARD_SAMPLES), self.recipe.sampling.law())
        done = self.folder.stage_done(0, "policy", "standardise")
        with self.books.stage(0, "policy", "standardise", len(prompts) * _STANDARD_SAMPLES, "candidates") as note:
            self._score_by(self.parts, scorers)
            (drawn,) = self.drawing.by_orders(0, self.base, [order])
            if done is None:
                whole = [drawn.scores[candidate.key] for candidate in drawn.candidates if candidate.is_reply]
                note.update(notes.Total(drawn).numbers, standards=measure(wanted, whole))
        # What was measured first stands, whatever a scorer that failed then has to say now.
        said = (done or note)["standards"]
        return {name: (mean, spread) for name, (mean, spread) in said.items()}, drawn

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

    def sample(self, iteration: int, policy: Policy, law: SamplingParams) -> Sampled:
        """Draw candidates of the train prompts as the recipe's budget has it, score them, and keep both."""
        if (settled := self._settled(iteration, "policy")) is not None:
            return settled
        terms = self._terms(iteration)
        recipe, parts, selection = terms.recipe, self.parts, terms.selection
        past = self._past(iteration) if recipe.budget.carry_over else {}
        resting = rest(past, iteration, len(parts.train))
        budget = build_budget(recipe.budget, recipe.sampling, selection, parts.train, past, resting)
        speculation = self._speculation(iteration)
        watching = Watching.of(parts.scorers if recipe.budget.early_rejection else {}, selection, speculation)
        prompt_ids = [prompt.id for prompt in parts.train]
        about = (len(prompt_ids) - len(resting)) * recipe.sampling.candidates
        with self.books.stage(iteration, "policy", "sample", about, "candidates") as note:
            sampled = self._kept(iteration, "policy")
            if sampled is None:
                total, lost = notes.Total(), Lost()
                for drawn in self.drawing.by_budget(iteration, policy, law, selection, budget, prompt_ids, watching):
                    total.add(drawn)
                    if speculation is not None:
                        passing = (one.candidate for one in self.evaluating.measured(drawn) if one.passed)
                        lost += speculation.lost(passing, self.drawing.prompts, parts.engine.text)
                sampled = total.sampled(iteration)
                note.update(total.numbers, ended_early=total.ended_early)
                if speculation is not None:
                    note.update(speculative=speculation.numbers | {"lost": lost.share})
            baselines = self._draw_baselines(iteration, policy)
            note.update(baselines=baselines, resting=sorted(resting), temperature=law.temperature)
            if told := [dict(writer.engine.told) for writer in parts.writers if writer.engine.told]:
                note.update(told=told)
        return sampled

    def _settled(self, iteration: int, arm: Arm) -> Sampled | None:
        """The candidates of an arm that has decided on them, if nothing has happened to them or to the scorers since:
        then nothing of them need be read again."""
        done = self.folder.stage_done(iteration, arm, "select")
        if done is None or done["scorers"] != _fingerprints(self.parts.scorers) or self.folder.has_lost(iteration):
            return None
        return self._decided_on(iteration, arm)

    def _kept(self, iteration: int, arm: Arm) -> Sampled | None:
        """The candidates of an arm on which the run has decided: what failed is not asked again, since that could
        change who should have been drawn. None before, and where some of them got lost since."""
        sampled, fingerprints = self._decided_on(iteration, arm), _fingerprints(self.parts.scorers)
        return sampled if sampled is not None and has_all(self.folder, arm, iteration, fingerprints) else None

    def _decided_on(self, iteration: int, arm: Arm) -> Sampled | None:
        fared = self._fared(iteration, arm)
        done = self.folder.stage_done(iteration, arm, "sample")
        return Sampled(iteration, fared.candidates, done["generators"]) if done and fared.any else None

    def _draw_baselines(self, iteration: int, policy: Policy) -> dict[str, str]:
        """Draw the baselines that the recipe wants, of the train prompts that have one. Returns by name what tells
        their candidates from others: the generator."""
        generators: dict[str, str] = {}
        law = self.evaluating.greedy_law
        if "greedy" in self.recipe.baselines:
            order = Order(dict.fromkeys((prompt.id for prompt in self.parts.train), 1), law)
            for drawn in self.drawing.in_portions(iteration, policy, order):
                generators["greedy"] = drawn.candidates[0].key.generator
        if "reference" in self.recipe.baselines:
            texts = {p.id: text for p in self.parts.train if isinstance(text := p.fields.get("reference"), str)}
            self.drawing.given(iteration, texts, "reference", law)
            generators |= {"reference": "reference"} if texts else {}
        return generators

    def _speculation(self, iteration: int) -> Speculation | None:
        """Speculative rejection, if the recipe wants it, by what the iteration before says of beginnings."""
        said, parts, before = self._terms(iteration).recipe.budget.speculative, self.parts, iteration - 1
        sampled = self._decided_on(before, "policy") if said is not None and before else None
        if said is None or sampled is None:
            return None
        note = self.folder.stage_done(before, "policy", "sample") or {}
        counts = {p: n for p, n in sampled.counts.items() if not note.get("speculative") or spared(p)}
        looked_at = next(portions(counts, _SPECULATED_ON), [])
        found = self.folder.candidates(iteration=before, generators=sampled.generators, prompt_ids=looked_at)
        scores = self.folder.own_scores(iteration=before, generators=sampled.generators, prompt_ids=looked_at)
        replies = [(one, scores[one.key]) for one in found if one.is_reply and sampled.has(one.key)]
        return measured(said, parts.scorers[said.by], replies, self.drawing.prompts, parts.engine.text)

    def _past(self, iteration: int) -> dict[str, Past]:
        """How each prompt fared in the last iteration before this one that drew candidates of it."""
        past: dict[str, Past] = {}
        for earlier in range(1, iteration):
            past |= past_in(self.folder, earlier)
        return past

    def sample_control(self, iteration: int, arm: Arm, policy: Policy, law: SamplingParams, chosen: Fared) -> Sampled:
        """Draw enough candidates of a control's own policy to choose as many of each prompt as the real arm had.

        A random choice among the recipe's number has the same law as one among fewer, so the random control draws only
        some more than it needs, for those that the length limit cuts. All of them come to their own end: a choice among
        those that no rule ended early would not be random.
        """
        if (settled := self._settled(iteration, arm)) is not None:
            return settled
        most = self._terms(iteration).recipe.sampling.candidates
        if arm == "unfiltered":
            wanted = chosen.candidates
        else:
            wanted = {prompt_id: min(max(most, n), n + _SPARE) for prompt_id, n in chosen.accepted.items()}
        with self.books.stage(iteration, arm, "sample", sum(wanted.values()), "candidates") as note:
            sampled = self._kept(iteration, arm)
            if sampled is None:
                total = notes.Total()
                # In the first iteration the real arm draws by the same policy.
                for drawn in self.drawing.in_portions(iteration, policy, Order(wanted, law), self.parts.writers, most):
                    total.add(drawn)
                sampled = total.sampled(iteration)
                note.update(total.numbers)
        return sampled

    # -- select ------------------------------------------------------------------------------------------------------

    def rounds(self, iteration: int) -> list[Round]:
        """The iteration's rounds of training."""
        return [Round(iteration, number) for number, _ in enumerate(self._terms(iteration).rounds, 1)]

    def select(self, training: Round, sampled: Sampled) -> Fared:
        """Apply the recipe's rules. Raises SelectionError, with the rules that rejected most, if nothing is left; and
        where a threshold is to be certified, and the labels don't do it."""
        iteration = training.iteration
        terms = self._terms(iteration)

        def rules() -> Selection:
            with_lines = bound(terms.rounds[training.number - 1], self.folder, terms.recipe, iteration)
            keep_lines(with_lines, self.folder, iteration)
            return with_lines

        return self._select(iteration, training.of("policy"), sampled, rules)

    def select_for_control(self, training: Round, arm: Arm, sampled: Sampled, chosen: Fared) -> Fared:
        """A control's choice, whatever the scores: as many of each prompt, at random, as the real arm accepted in this
        round; the unfiltered one takes every whole reply."""
        seed = self.recipe.seed * 1000 + training.iteration
        rules = all_whole() if arm == "unfiltered" else random_selection(chosen.accepted, seed)
        return self._select(training.iteration, training.of(arm), sampled, lambda: rules)

    def _select(self, iteration: int, arm: Arm, sampled: Sampled, rules: Callable[[], Selection]) -> Fared:
        if self.folder.stage_done(iteration, arm, "select") and (fared := self._fared(iteration, arm)).any:
            return fared
        with self.books.stage(iteration, arm, "select", len(sampled), "candidates") as note:
            fingerprints = _fingerprints(self.parts.scorers)
            choice = choose(self.folder, arm, sampled, fingerprints, rules)
            note.update(choice.numbers, scorers=fingerprints)
            if arm == "policy":
                note.update(choice.lists_of_prompts(self._terms(iteration).recipe.sampling.candidates))
                note.update(choice.lengths(), phrases=choice.phrases(self.drawing.prompts))
        return choice.fared

    def _fared(self, iteration: int, arm: Arm) -> Fared:
        """How prompts fared by what is decided of an arm."""
        return Fared.read(self.folder, iteration, arm, self._ids)

    @cached_property
    def _ids(self) -> Ids:
        return Ids.of_train(self.folder)

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
        return [one for iteration in sorted(iterations) for one in accepted_candidates(self.folder, iteration, arm)]

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
        fared = [self._fared(earlier, "policy") for earlier in range(1, iteration + 1)]
        solved = {prompt_id for one in fared for prompt_id in one.accepted}
        train = {prompt.id for prompt in self.parts.train}
        return guards.History(
            iteration,
            {i: one for (i, arm), one in self.evaluations.items() if arm == "policy"},
            self.recipe.evaluation.best_is_by,
            disowned=lineage.disowned(self.folder),
            accepted=int(fared[-1].accepted_P.sum()),
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


def _fingerprints(scorers: Mapping[str, Scorer]) -> dict[str, str]:
    return {name: scorer.fingerprint for name, scorer in scorers.items()}
