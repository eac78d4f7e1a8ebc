"""Drawing candidates: from the engine through the scorers into the run folder. What is there is not drawn again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass

from rsft import failpoints
from rsft.budget import Budget
from rsft.config import Recipe
from rsft.engines.base import Request, stream_seed
from rsft.engines.writers import Writer, Writers
from rsft.errors import StoreError, UserError
from rsft.family import Family, learn
from rsft.forking import Fork
from rsft.keeping import Keeping
from rsft.pacing import Pacing
from rsft.progress import Reporter
from rsft.scorers import Scorer
from rsft.scoring import Record, Scored, Scores, Scoring, score_owed
from rsft.selection import Pool, Selection
from rsft.setup import Parts
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey, Policy, SamplingParams, in_order_of_keys
from rsft.watching import Watching

# How long an engine that has nothing else to do waits for scorers before it goes on with what may turn out unneeded.
_PATIENCE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Order:
    """Candidates `start` to `start` + wanted of each prompt, by one sampling law."""

    wanted: Mapping[str, int]
    params: SamplingParams
    start: int = 0


@dataclass(frozen=True, slots=True)
class Drawn:
    """Candidates with their scores, in the order of their keys.

    `drawn_tokens` were drawn just now: the other candidates were there already, from before an interruption or from the
    other arm. `unneeded_tokens` were drawn of candidates that do not count: a prompt had enough before they were done.
    """

    candidates: Sequence[Candidate]
    scores: Mapping[CandidateKey, Scores]
    drawn_tokens: int
    unneeded_tokens: int = 0

    @classmethod
    def of(cls, scored: Sequence[Scored], drawn_tokens: int, unneeded_tokens: int = 0) -> Drawn:
        in_order = sorted(scored, key=lambda one: in_order_of_keys(one[0].key))
        scores = {candidate.key: said for candidate, said in in_order}
        return cls([candidate for candidate, _ in in_order], scores, drawn_tokens, unneeded_tokens)

    @property
    def by_prompt(self) -> Mapping[str, Scores]:
        """The scores by prompt, where each has one reply."""
        return {key.prompt_id: said for key, said in self.scores.items()}

    @property
    def pool(self) -> Pool:
        return Pool.scored(self.candidates, self.scores)


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
        stock = self._stock(iteration, {name for named in generators for name in named})
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

    def by_budget(
        self,
        iteration: int,
        policy: Policy,
        params: SamplingParams,
        selection: Selection,
        budget: Budget,
        prompt_ids: Sequence[str],
        watching: Watching | None = None,
    ) -> Drawn:
        """What the budget grants by what the selection accepts, round after round; the hopeless ends early."""
        writers = self.parts.writers
        named = self._generators(writers, policy, params, watching)
        families = {prompt_id: Family(selection) for prompt_id in prompt_ids}
        stock = {key: one for key, one in self._stock(iteration, named).items() if key.prompt_id in families}
        learn(families, list(stock.values()))
        pace = Pacing(budget, families)
        owed = [
            request
            for prompt_id, family in families.items()
            for request in self._requests(
                iteration,
                prompt_id,
                {
                    index: named[writers.place(index)]
                    for index in range(family.tally.candidates, pace.most(prompt_id))
                    if not family.knows(index)
                },
                params,
            )
        ]
        self.tell.advance(sum(family.tally.candidates for family in families.values()))
        drawn_tokens = 0
        with Keeping(self.folder, self.parts.scorers) as keeping:
            for some in self._draw(writers, policy, owed, watching, pace):
                drawn_tokens += _tokens(some)
                keeping.keep(one for one in pace.counted() if one[0].key not in stock)
        found = [one for family in families.values() for one in family.counted()]
        drawn_tokens += pace.cancelled_tokens
        return Drawn.of(found, drawn_tokens, drawn_tokens - _tokens(keeping.kept.values()))

    def kept(self, iteration: int, decided: Collection[CandidateKey]) -> Drawn | None:
        """The candidates of an iteration on which the run has decided, as they were scored then: what has failed is not
        asked again, since that could change who should have been drawn. None without any, or where one got damaged."""
        if not decided:
            return None
        fingerprints = {name: scorer.fingerprint for name, scorer in self.parts.scorers.items()}
        scores = self.folder.scores(iteration=iteration, fingerprints=fingerprints)
        found = [candidate for candidate in self.folder.candidates(iteration=iteration) if candidate.key in decided]
        whole = [(one, scores[one.key]) for one in found if len(scores.get(one.key, {})) == len(fingerprints)]
        return Drawn.of(whole, 0) if len(whole) == len(decided) else None

    def given(self, iteration: int, texts: Mapping[str, str], whose: str) -> Drawn:
        """Replies by prompt that no engine drew, scored and kept like candidates; `whose` stands for the generator."""
        self.folder.ledger.add_generator(whose, {"policy": whose, "temperature": None})
        found = self._stock(iteration, [whose])
        keys = (CandidateKey(iteration, prompt_id, 0, whose) for prompt_id in texts)
        owed = [Candidate(key, texts[key.prompt_id], (), "stop", None, None) for key in keys if key not in found]
        with Keeping(self.folder, self.parts.scorers) as keeping:
            for one in score_owed(self.parts.scorers, self.prompts, self.record, owed, {}):
                keeping.keep([one])
        return Drawn.of([*found.values(), *keeping.kept.values()], 0)

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

    def _stock(self, iteration: int, generators: Collection[str]) -> dict[CandidateKey, Scored]:
        """What the folder holds of these generators, with these scorers' scores; what misses or failed is made."""
        fingerprints = {name: scorer.fingerprint for name, scorer in self.parts.scorers.items()}
        if self.earlier is not None:
            heldout = {name: scorer.fingerprint for name, scorer in self.parts.heldout_scorers.items()}
            self.earlier.take_over(iteration, generators, fingerprints | heldout)
        candidates = self.folder.candidates(iteration=iteration, generators=generators)
        known = self.folder.scores(iteration=iteration, generators=generators, fingerprints=fingerprints)
        with Keeping(self.folder, self.parts.scorers, known) as keeping:
            for one in score_owed(self.parts.scorers, self.prompts, self.record, candidates, known):
                keeping.keep([one])
        return keeping.kept

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
