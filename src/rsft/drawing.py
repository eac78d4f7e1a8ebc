"""Drawing candidates: from the engine through the scorers into the run folder. What is there is not drawn again.

A stage that draws of all prompts does so of as many at a time as memory has room for: what was drawn of them then lies
in the run folder, and only how each prompt fared is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace

from rsft import failpoints
from rsft.budget import Budget, OneRound, Tally
from rsft.config import Recipe
from rsft.drawn import Drawn
from rsft.engines.base import Request, stream_seed
from rsft.engines.writers import Writer, Writers
from rsft.errors import StoreError, UserError
from rsft.family import Family, learn
from rsft.forking import Fork
from rsft.keeping import Keeping
from rsft.models.devices import available_memory
from rsft.pacing import Pacing
from rsft.progress import Reporter
from rsft.scorers import Scorer
from rsft.scoring import Record, Scored, Scores, Scoring, score_owed
from rsft.selection import Selection
from rsft.setup import Parts
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey, Policy, SamplingParams
from rsft.watching import Watching

# How long an engine that has nothing else to do waits for scorers before it goes on with what may turn out unneeded.
_PATIENCE_SECONDS = 0.25
# What a candidate takes while it is drawn, as a request and as an object with some scores.
_BYTES_EACH, _BYTES_A_TOKEN = 3000, 40
_LEAST_ROOM = 8192


@dataclass(frozen=True, slots=True)
class Order:
    """Candidates `start` to `start` + wanted of each prompt, by one sampling law."""

    wanted: Mapping[str, int]
    params: SamplingParams
    start: int = 0


@dataclass(frozen=True, slots=True)
class _Draws:
    """How an iteration's candidates are drawn, and by which rules it is known what they are worth."""

    iteration: int
    policy: Policy
    params: SamplingParams
    selection: Selection
    watching: Watching | None
    generators: Sequence[str]


def room(params: SamplingParams) -> int:
    """How many candidates a portion may hold. Two of them, the one that is drawn and the one before, have a quarter of
    the memory that is free."""
    bytes_each = _BYTES_EACH + _BYTES_A_TOKEN * params.max_tokens
    return max(_LEAST_ROOM, available_memory() // 8 // bytes_each)


def portions(wanted: Mapping[str, int], most: int) -> Iterator[list[str]]:
    """Prompts in order, so many at a time that no more than `most` candidates are wanted of them; one at least."""
    some: list[str] = []
    held = 0
    for prompt_id, count in wanted.items():
        if some and held + count > most:
            yield some
            some, held = [], 0
        some.append(prompt_id)
        held += count
    if some:
        yield some


class Drawing:
    """Draws for one run: into its folder, with its working parts, from its seed."""

    def __init__(
        self, folder: RunFolder, parts: Parts, recipe: Recipe, tell: Reporter, earlier: Fork | None = None
    ) -> None:
        """`earlier` is a run from which what would be drawn all the same is taken over."""
        self.folder = folder
        self.parts = parts
        self.earlier = earlier
        self.policy = Writers([Writer(parts.engine)])
        self.seed = recipe.seed
        self.tell = tell
        self.record = Record(recipe.scoring.max_failed, recipe.scoring.max_seconds)
        self.prompts = {prompt.id: prompt for prompt in (*parts.train, *parts.heldout)}

    def by_orders(
        self, iteration: int, policy: Policy, orders: Sequence[Order], writers: Writers | None = None
    ) -> list[Drawn]:
        """What was ordered, whole, of the policy itself, or of writers. Orders of one prompt are drawn together."""
        writers = writers or self.policy
        generators = [self._generators(writers, policy, order.params) for order in orders]
        requested = [
            [
                request
                for prompt_id, count in order.wanted.items()
                for request in self._requests(
                    iteration,
                    prompt_id,
                    {i: named[writers.place(i)] for i in range(order.start, order.start + count)},
                    order.params,
                )
            ]
            for order, named in zip(orders, generators, strict=True)
        ]
        wanted = dict.fromkeys(prompt_id for order in orders for prompt_id in order.wanted)
        stock = self._stock(iteration, {name for named in generators for name in named}, wanted)
        owed = [request for requests in requested for request in requests if request.key not in stock]
        self.tell.advance(sum(map(len, requested)) - len(owed))
        with Keeping(self.folder, self.parts.scorers) as keeping:
            for some in self._draw(writers, policy, owed):
                keeping.keep(some)
        stock |= keeping.kept
        return [
            Drawn.of(found, _tokens(one for one in found if one[0].key in keeping.kept))
            for found in ([stock[request.key] for request in requests] for requests in requested)
        ]

    def in_portions(
        self, iteration: int, policy: Policy, order: Order, writers: Writers | None = None, there: int = 0
    ) -> Iterator[Drawn]:
        """What was ordered, whole, some prompts at a time; of each prompt, so many may be `there` that somebody else
        has drawn."""
        for some in portions({name: max(count, there) for name, count in order.wanted.items()}, room(order.params)):
            ordered = replace(order, wanted={prompt_id: order.wanted[prompt_id] for prompt_id in some})
            yield from self.by_orders(iteration, policy, [ordered], writers)

    def by_budget(
        self,
        iteration: int,
        policy: Policy,
        params: SamplingParams,
        selection: Selection,
        budget: Budget,
        prompt_ids: Sequence[str],
        watching: Watching | None = None,
    ) -> Iterator[Drawn]:
        """What the budget grants by what the selection accepts; the hopeless ends early.

        All prompts together, if memory has room for what may be drawn of them. Else each of the budget's rounds comes
        in portions of prompts: which candidates count is the same, since the budget looks at all prompts only between
        its rounds.
        """
        named = self._generators(self.parts.writers, policy, params, watching)
        draws = _Draws(iteration, policy, params, selection, watching, named)
        tallies = dict.fromkeys(prompt_ids, Tally())
        most = room(params)
        if sum(map(budget.most, prompt_ids)) <= most:
            yield self._by_budget(draws, budget, tallies, tallies.keys())
            return
        begun = set(prompt_ids) if self.earlier else self.folder.begun_prompts(iteration, named)
        while (granted := budget.next_round(tallies)) is not None:
            for some in portions(granted.limits, most):
                portion = {prompt_id: tallies[prompt_id] for prompt_id in some}
                yield self._by_budget(draws, OneRound(granted, budget.stop_at), portion, begun)
                tallies |= portion
                begun.update(some)

    def _by_budget(self, draws: _Draws, budget: Budget, tallies: dict[str, Tally], begun: Collection[str]) -> Drawn:
        """Draw of the prompts that have fared so, round after round, and say how they have fared then. Of prompts that
        are not `begun` the folder holds nothing."""
        writers, named = self.parts.writers, draws.generators
        families = {prompt_id: Family(draws.selection, tally) for prompt_id, tally in tallies.items()}
        settled = {prompt_id: tally.candidates for prompt_id, tally in tallies.items()}
        stock = self._stock(draws.iteration, named, [p for p in families if p in begun], settled)
        learn(families, list(stock.values()))
        pace = Pacing(budget, families)
        owed = [
            request
            for prompt_id, family in families.items()
            for request in self._requests(
                draws.iteration,
                prompt_id,
                {
                    index: named[writers.place(index)]
                    for index in range(family.tally.candidates, pace.most(prompt_id))
                    if not family.knows(index)
                },
                draws.params,
            )
        ]
        self.tell.advance(sum(family.tally.candidates - settled[name] for name, family in families.items()))
        drawn_tokens = 0
        with Keeping(self.folder, self.parts.scorers) as keeping:
            for some in self._draw(writers, draws.policy, owed, draws.watching, pace):
                drawn_tokens += _tokens(some)
                keeping.keep(one for one in pace.counted() if one[0].key not in stock)
        found = [one for name, family in families.items() for one in family.counted(settled[name])]
        drawn_tokens += pace.cancelled_tokens
        tallies |= {prompt_id: family.tally for prompt_id, family in families.items()}
        return Drawn.of(found, drawn_tokens, drawn_tokens - _tokens(keeping.kept.values()))

    def given(self, iteration: int, texts: Mapping[str, str], whose: str, like: SamplingParams) -> None:
        """Score and keep replies by prompt that no engine drew, as candidates; `whose` stands for the generator. They
        are about as long as those that are drawn `like` this."""
        self.folder.ledger.add_generator(whose, {"policy": whose, "temperature": None})
        for some in portions(dict.fromkeys(texts, 1), room(like)):
            found = self._stock(iteration, [whose], some)
            keys = (CandidateKey(iteration, prompt_id, 0, whose) for prompt_id in some)
            owed = [Candidate(key, texts[key.prompt_id], (), "stop", None, None) for key in keys if key not in found]
            with Keeping(self.folder, self.parts.scorers) as keeping:
                for one in score_owed(self.parts.scorers, self.prompts, self.record, owed, {}):
                    keeping.keep([one])

    def scored_by(self, scorers: Mapping[str, Scorer], drawn: Drawn) -> Mapping[CandidateKey, Scores]:
        """What further scorers say of candidates that are kept already; their words are kept as well."""
        fingerprints = {name: scorer.fingerprint for name, scorer in scorers.items()}
        iterations = {candidate.key.iteration for candidate in drawn.candidates}
        known = {
            k: s for i in iterations for k, s in self.folder.scores(iteration=i, fingerprints=fingerprints).items()
        }
        with Keeping(self.folder, scorers, known) as keeping:
            for one in score_owed(scorers, self.prompts, self.record, drawn.candidates, known):
                keeping.keep([one])
        return {key: said for key, (_, said) in keeping.kept.items()}

    # -- inside ------------------------------------------------------------------------------------------------------

    def _draw(
        self,
        writers: Writers,
        policy: Policy,
        owed: Sequence[Request],
        watching: Watching | None = None,
        pace: Pacing | None = None,
    ) -> Iterator[list[Scored]]:
        """The owed candidates with their scores, as these become known; cancelled ones only count in the pace. What
        comes together is scored together, and heard of at once."""
        if not owed:
            return
        came: Counter[CandidateKey] = Counter()
        heard: list[Scored] = []

        def hear(answers: Sequence[Scored]) -> None:
            heard.extend(answers)
            if pace is not None:
                pace.hear(answers)

        def given() -> Iterator[list[Scored]]:
            if heard:
                yield list(heard)
                heard.clear()

        try:
            with (
                Scoring(self.parts.scorers, self.prompts, self.record) as scoring,
                closing(writers.sample(policy, owed, watching, pace)) as sampling,
            ):
                if pace is not None:
                    pace.begin(sampling, lambda: hear(scoring.wait(_PATIENCE_SECONDS)))
                while together := sampling.together():
                    came.update(candidate.key for candidate in together)
                    drawn = together if pace is None else pace.without_cancelled(together)
                    if not drawn:
                        continue
                    failpoints.reached("sample.drawn", len(drawn))
                    self.tell.advance(len(drawn), sum(len(candidate.token_ids) for candidate in drawn))
                    scoring.ask(drawn)
                    hear(scoring.answered())
                    yield from given()
                while scoring.owes:
                    hear(scoring.wait())
                    yield from given()
                yield from given()  # what was heard while the engine waited, before the rest was cancelled
        except UserError:
            yield from given()  # nothing that was scored before is lost
            raise
        _reconcile(owed, came)

    def _stock(
        self,
        iteration: int,
        generators: Collection[str],
        prompt_ids: Collection[str],
        settled: Mapping[str, int] | None = None,
    ) -> dict[CandidateKey, Scored]:
        """What the folder holds of these prompts by these generators, with these scorers' scores; what misses or failed
        is made, but for the first so many of a prompt that are `settled`: they have come to count as they are."""
        if not prompt_ids:
            return {}
        fingerprints = {name: scorer.fingerprint for name, scorer in self.parts.scorers.items()}
        if self.earlier is not None:
            heldout = {name: scorer.fingerprint for name, scorer in self.parts.heldout_scorers.items()}
            self.earlier.take_over(iteration, generators, prompt_ids, fingerprints | heldout)
        candidates = self.folder.candidates(iteration=iteration, generators=generators, prompt_ids=prompt_ids)
        known = self.folder.scores(
            iteration=iteration, generators=generators, prompt_ids=prompt_ids, fingerprints=fingerprints
        )
        stand = {
            candidate.key: (candidate, known[candidate.key])
            for candidate in candidates
            if settled and candidate.key.sample_index < settled[candidate.key.prompt_id]
        }
        owed = [candidate for candidate in candidates if candidate.key not in stand]
        with Keeping(self.folder, self.parts.scorers, known) as keeping:
            for one in score_owed(self.parts.scorers, self.prompts, self.record, owed, known):
                keeping.keep([one])
        return stand | keeping.kept

    def _requests(
        self, iteration: int, prompt_id: str, generators: Mapping[int, str], params: SamplingParams
    ) -> Iterator[Request]:
        """A prompt's candidates by sample index, each of its generator."""
        prompt, of_family = self.prompts[prompt_id], stream_seed(self.seed, iteration, prompt_id, 0)
        for index, generator in generators.items():
            key = CandidateKey(iteration, prompt_id, index, generator)
            yield Request(key, prompt, stream_seed(self.seed, iteration, prompt_id, index), params, of_family)

    def _generators(
        self, writers: Writers, policy: Policy, params: SamplingParams, watching: Watching | None = None
    ) -> list[str]:
        """The fingerprint of what each writer draws by: its policy, its engine, the sampling law, and what may end a
        candidate early. What it stands for is kept in the ledger."""
        return [self._generator(writer, policy, params, watching) for writer in writers]

    def _generator(self, writer: Writer, policy: Policy, params: SamplingParams, watching: Watching | None) -> str:
        engine = writer.engine.description
        description: dict[str, object] = {"policy": writer.of(policy).hash, **engine, **asdict(params)}
        if watching is not None:
            description["watching"] = watching.fingerprint
        fingerprint = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:12]
        self.folder.ledger.add_generator(fingerprint, description)
        return fingerprint


def _tokens(scored: Iterable[Scored]) -> int:
    return sum(len(candidate.token_ids) for candidate, _ in scored)


def _reconcile(owed: Sequence[Request], came: Counter[CandidateKey]) -> None:
    wanted = Counter(request.key for request in owed)
    if dict(wanted) != dict(came):  # a counter's own comparison looks at one key after the other
        wrong = sorted((wanted - came) | (came - wanted))
        raise StoreError(
            f"The engine was asked for {len(owed)} candidates and gave others, the first of them {wrong[0]}"
        )
