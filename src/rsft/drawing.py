"""Drawing candidates: from the engine through the scorers into the run folder. What is there is not drawn again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from rsft import failpoints
from rsft.budget import Budget, Round
from rsft.early import EarlyRejection
from rsft.engines.base import Request, Sampling, stream_seed
from rsft.errors import StoreError
from rsft.family import Family, needed
from rsft.progress import Reporter
from rsft.scoring import Scored, Scores, Scoring
from rsft.selection import Pool
from rsft.setup import Parts
from rsft.store import RunFolder, ScoreRow
from rsft.types import Candidate, CandidateKey, Policy, Prompt, SamplingParams

# Candidates that are sampled and committed together, in multiples of those that the engine works on at a time. A chunk
# is drawn whole or again, so that an interrupted run forms the same batches as an uninterrupted one and draws the same
# candidates to the last bit.
_CHUNK = 4
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
        in_order = sorted(scored, key=lambda one: one[0].key)
        scores = {candidate.key: said for candidate, said in in_order}
        return cls([candidate for candidate, _ in in_order], scores, drawn_tokens, unneeded_tokens)

    @property
    def pool(self) -> Pool:
        return Pool.scored(self.candidates, self.scores)


class Drawing:
    """Draws for one run: into its folder, with its working parts, from its seed."""

    def __init__(self, folder: RunFolder, parts: Parts, seed: int, tell: Reporter) -> None:
        self.folder = folder
        self.parts = parts
        self.seed = seed
        self.tell = tell
        self.prompts = {prompt.id: prompt for prompt in (*parts.train, *parts.heldout)}

    def by_orders(self, iteration: int, policy: Policy, orders: Sequence[Order]) -> list[Drawn]:
        """What was ordered, whole. Orders of one prompt are drawn together."""
        generators = [self._generator(policy, order.params) for order in orders]
        requested = [
            [
                self._request(CandidateKey(iteration, prompt_id, index, generator), order.params)
                for prompt_id, count in order.wanted.items()
                for index in range(order.start, order.start + count)
            ]
            for order, generator in zip(orders, generators, strict=True)
        ]
        by_prompt: dict[str, list[Request]] = {}
        for request in (request for requests in requested for request in requests):
            by_prompt.setdefault(request.prompt.id, []).append(request)
        stock = self._stock(iteration, generators)
        new: set[CandidateKey] = set()
        for chunk in self._chunks({prompt_id: len(requests) for prompt_id, requests in by_prompt.items()}):
            wanted = [request for prompt_id in chunk for request in by_prompt[prompt_id]]
            owed = [request for request in wanted if request.key not in stock]
            self.tell.advance(len(wanted) - len(owed))
            scored, _ = self._draw(policy, owed)
            self._keep(scored, scored)
            stock |= {one[0].key: one for one in scored}
            new |= {candidate.key for candidate, _ in scored}
        return [
            Drawn.of(found, _tokens(one for one in found if one[0].key in new))
            for found in ([stock[request.key] for request in requests] for requests in requested)
        ]

    def by_budget(
        self,
        iteration: int,
        policy: Policy,
        params: SamplingParams,
        budget: Budget,
        prompt_ids: Sequence[str],
        early: EarlyRejection | None = None,
    ) -> Drawn:
        """What the budget grants, round after round; what can't be accepted ends early."""
        generator = self._generator(policy, params, early)
        families = {prompt_id: Family(self.parts.selection) for prompt_id in prompt_ids}
        for key, one in self._stock(iteration, [generator]).items():
            if key.prompt_id in families:
                families[key.prompt_id].learn(one)
        drawn_tokens = unneeded_tokens = 0
        while (granted := budget.next_round({p: family.tally for p, family in families.items()})) is not None:
            for chunk in self._chunks(_certain(granted, families)):
                before = {prompt_id: families[prompt_id].tally.candidates for prompt_id in chunk}
                pace = _Pacing({prompt_id: families[prompt_id] for prompt_id in chunk}, granted)
                owed = [
                    self._request(CandidateKey(iteration, prompt_id, index, generator), params)
                    for prompt_id in chunk
                    for index in pace.owed(prompt_id)
                ]
                scored, cancelled_tokens = self._draw(policy, owed, early, pace)
                counted = [one for p in chunk for one in families[p].counted[before[p] :]]
                keys = {candidate.key for candidate, _ in scored}
                new = [one for one in counted if one[0].key in keys]
                self.tell.advance(len(counted) - len(new))
                self._keep(new, new)
                drawn_tokens += _tokens(scored) + cancelled_tokens
                unneeded_tokens += _tokens(scored) - _tokens(new) + cancelled_tokens
        found = [one for family in families.values() for one in family.counted]
        return Drawn.of(found, drawn_tokens, unneeded_tokens)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _draw(
        self,
        policy: Policy,
        owed: Sequence[Request],
        early: EarlyRejection | None = None,
        pace: _Pacing | None = None,
    ) -> tuple[list[Scored], int]:
        """The owed candidates that were not cancelled, with their scores, and the tokens of those that were."""
        scored: list[Scored] = []
        if not owed:
            return scored, 0
        came: Counter[CandidateKey] = Counter()
        cancelled_tokens = 0

        def hear(answers: Sequence[Scored]) -> None:
            scored.extend(answers)
            if pace is not None:
                pace.hear(answers)

        with Scoring(self.parts.scorers, self.prompts) as scoring:
            sampling = self.parts.engine.sample(policy, owed, early, pace)
            if pace is not None:
                pace.begin(sampling, lambda: hear(scoring.wait(_PATIENCE_SECONDS)))
            for candidate in sampling:
                came[candidate.key] += 1
                if candidate.finish_reason == "cancelled":
                    cancelled_tokens += len(candidate.token_ids)
                    continue
                failpoints.reached("sample.drawn")
                self.tell.advance(1, len(candidate.token_ids))
                scoring.ask(candidate)
                hear(scoring.answered())
            while scoring.owes:
                hear(scoring.wait())
        _reconcile(owed, came)
        return scored, cancelled_tokens

    def _stock(self, iteration: int, generators: Collection[str]) -> dict[CandidateKey, Scored]:
        """What the folder holds of these generators, with scores by these very scorers; those that miss are made."""
        fingerprints = {name: scorer.fingerprint for name, scorer in self.parts.scorers.items()}
        candidates = [c for c in self.folder.candidates(iteration=iteration) if c.key.generator in generators]
        known = self.folder.scores(iteration=iteration, fingerprints=fingerprints)
        scored: list[Scored] = []
        with Scoring(self.parts.scorers, self.prompts) as scoring:
            for candidate in candidates:
                scoring.ask(candidate, known.get(candidate.key))
            while scoring.owes:
                scored += scoring.wait()
            scored += scoring.answered()
        self._keep([], scored)
        return {one[0].key: one for one in scored}

    def _keep(self, new: Sequence[Scored], scored: Sequence[Scored]) -> None:
        """Commit new candidates, and the scores that are not there yet: all of it at once."""
        fingerprints = {name: scorer.fingerprint for name, scorer in self.parts.scorers.items()}
        scores = [
            ScoreRow(candidate.key, name, fingerprints[name], score)
            for candidate, said in scored
            for name, score in said.items()
        ]
        self.folder.commit(candidates=[candidate for candidate, _ in new], scores=self.folder.not_there(scores))

    def _chunks(self, sizes: Mapping[str, int]) -> Iterator[list[str]]:
        """Prompts of similar length together, with as many candidates as keep the engine busy."""
        chunk: list[str] = []
        size = 0
        for prompt_id in sorted(sizes, key=lambda prompt_id: (_length(self.prompts[prompt_id]), prompt_id)):
            if chunk and size + sizes[prompt_id] > _CHUNK * self.parts.engine.rows:
                yield chunk
                chunk, size = [], 0
            chunk = [*chunk, prompt_id]
            size += sizes[prompt_id]
        if chunk:
            yield chunk

    def _request(self, key: CandidateKey, params: SamplingParams) -> Request:
        seed = stream_seed(self.seed, key.iteration, key.prompt_id, key.sample_index)
        return Request(key, self.prompts[key.prompt_id], seed, params)

    def _generator(self, policy: Policy, params: SamplingParams, early: EarlyRejection | None = None) -> str:
        """The fingerprint of what draws: policy, engine, sampling law, and what may end a candidate early.

        What it stands for is kept in the ledger.
        """
        description: dict[str, object] = {"policy": policy.hash, **self.parts.engine.description, **asdict(params)}
        if early is not None:
            description["early_rejection"] = early.fingerprint
        fingerprint = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:12]
        self.folder.ledger.add_generator(fingerprint, description)
        return fingerprint


class _Pacing:
    """Tells the engine how far each prompt of a round may go, and cancels what is left of one that has ended."""

    def __init__(self, families: Mapping[str, Family], granted: Round) -> None:
        self._families = families
        self._granted = granted
        self._bounds: dict[str, int] = {}
        self._sampling: Sampling | None = None
        self._listen: Callable[[], None] = lambda: None
        for prompt_id in families:
            self._look(prompt_id)

    def begin(self, sampling: Sampling, listen: Callable[[], None]) -> None:
        """From now on it can cancel, and have scorers listened to: `listen` waits a little for a word of theirs."""
        self._sampling = sampling
        self._listen = listen

    def owed(self, prompt_id: str) -> list[int]:
        """The sample indices of the round that are still to be drawn, as far as it may go."""
        family = self._families[prompt_id]
        if self._has_ended(prompt_id):
            return []
        limit = self._granted.limits[prompt_id]
        return [index for index in range(family.tally.candidates, limit) if not family.knows(index)]

    def bound(self, prompt_id: str) -> int:
        return self._bounds[prompt_id]

    def wait(self) -> None:
        before = dict(self._bounds)
        self._listen()
        if self._bounds == before:
            self._bounds |= {p: self._granted.limits[p] for p in self._families if not self._has_ended(p)}

    def hear(self, answers: Sequence[Scored]) -> None:
        for scored in answers:
            self._families[scored[0].key.prompt_id].learn(scored)
        for prompt_id in {candidate.key.prompt_id: None for candidate, _ in answers}:
            self._look(prompt_id)
            if self._has_ended(prompt_id) and self._sampling is not None:
                self._sampling.cancel_prompt(prompt_id)

    def _look(self, prompt_id: str) -> None:
        """Count what is known, and see how far the prompt may go now."""
        family, limit = self._families[prompt_id], self._granted.limits[prompt_id]
        ended = partial(self._granted.ended, prompt_id)
        family.advance(limit, ended)
        self._bounds[prompt_id] = family.needed(limit, ended)

    def _has_ended(self, prompt_id: str) -> bool:
        return self._granted.ended(prompt_id, self._families[prompt_id].tally)


def _certain(granted: Round, families: Mapping[str, Family]) -> dict[str, int]:
    """How many candidates of each prompt the round needs for certain, judged by what was known before it."""
    certain = {}
    for prompt_id, limit in granted.limits.items():
        tally = families[prompt_id].tally
        certain[prompt_id] = needed(tally, limit, partial(granted.ended, prompt_id), {}) - tally.candidates
    return certain


def _tokens(scored: Iterable[Scored]) -> int:
    return sum(len(candidate.token_ids) for candidate, _ in scored)


def _length(prompt: Prompt) -> int:
    """Its characters."""
    return sum(len(message.content) for message in prompt.messages)


def _reconcile(owed: Sequence[Request], came: Counter[CandidateKey]) -> None:
    wanted = Counter(request.key for request in owed)
    if wanted != came:
        wrong = sorted((wanted - came) | (came - wanted))
        raise StoreError(
            f"The engine was asked for {len(owed)} candidates and gave others, the first of them {wrong[0]}"
        )
