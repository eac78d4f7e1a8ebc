"""What comes together is scored, judged and counted together, and nothing else comes of it than one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import PrivateAttr
from test_drawing import IDS, PARAMS, PROMPTS, SELECTION, BusyEngine, by_index, draw, drawing, even, some_candidates

from rsft.budget import Even, Tally
from rsft.drawing import Drawing, Order
from rsft.engines.base import Cancelled, Pace, Request, Sampling, Watch
from rsft.errors import ScoringError, UserError
from rsft.family import Family, learn, needed
from rsft.scorers import BATCH, Scorer
from rsft.scoring import Record, Scored, Scoring
from rsft.selection import Pool, parse_selection
from rsft.types import Candidate, CandidateKey, Policy, Reply, Score

__all__ = ["drawing"]


class Bunching(BusyEngine):
    """Gives so many at a time of what the busy engine draws."""

    def __init__(self, at_once: int) -> None:
        super().__init__(places=200)
        self.at_once = at_once

    def sample(
        self, policy: Policy, requests: Sequence[Request], watch: Watch | None = None, pace: Pace | None = None
    ) -> Sampling:
        def bunches(cancelled: Cancelled) -> Iterator[Sequence[Candidate]]:
            left = {request.key for request in requests}
            while left:
                wanted = [r for r in requests if r.key in left and (pace is None or may_begin(pace, r, cancelled))]
                if not wanted:
                    assert pace is not None
                    pace.wait()
                    continue
                some = wanted[: self.at_once]
                left -= {request.key for request in some}
                told = super(Bunching, self).sample(policy, [r for r in some if r.key not in cancelled], watch)
                yield [
                    *(Candidate(r.key, "", (), "cancelled", 0.0, 0.0, "unwanted") for r in some if r.key in cancelled),
                    *told,
                ]

        def may_begin(pace: Pace, request: Request, cancelled: Cancelled) -> bool:
            return request.key in cancelled or request.key.sample_index < pace.bound(request.prompt.id)

        return Sampling(bunches)


class Noting(Scorer):
    """1 for each, and how many it was asked about."""

    quick: ClassVar[bool] = True

    _asked: Any = PrivateAttr(default_factory=list)

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        self._asked.append(len(replies))
        return [Score(1.0) for _ in replies]


def test_a_sampling_gives_one_after_the_other_or_what_came_together() -> None:
    a, b, c, d = some_candidates(4)
    ended: list[Any] = []

    def given(cancelled: Cancelled) -> Iterator[Candidate | Sequence[Candidate]]:
        try:
            yield a
            yield []
            yield [b, c]
            ended.append("b" in cancelled.prompts)
            yield d
        finally:
            ended.append("over")

    assert list(Sampling(given)) == [a, b, c, d]
    ended.clear()
    sampling = Sampling(given)
    assert sampling.together() == [a]
    assert next(sampling) == b
    assert sampling.together() == [c]
    sampling.cancel_prompt("b")
    assert (sampling.together(), ended) == ([d], [True])
    assert (sampling.together(), ended) == ([], [True, "over"])
    sampling = Sampling(given)
    sampling.together()
    ended.clear()
    sampling.close()
    assert ended == ["over"]


@pytest.mark.parametrize("at_once", [3, 200])
def test_what_comes_together_counts_as_it_does_alone(drawing: Callable[..., Drawing], at_once: int) -> None:
    alone = draw(drawing(BusyEngine(), name="alone"), even(), watched=False)
    noting = Noting()
    here = drawing(Bunching(at_once), {"noting": noting}, name="together")
    together = draw(here, even(), watched=False)
    assert by_index(together) == by_index(alone)
    assert together.unneeded_tokens == alone.unneeded_tokens == 0
    assert 1 < max(noting._asked) <= at_once
    (ordered,) = here.by_orders(2, here.parts.engine.base, [Order(dict.fromkeys(IDS, 8), PARAMS)])
    assert {one.key.sample_index for one in ordered.candidates} == set(range(8))
    assert len(ordered.candidates) == 8 * len(IDS)
    assert max(noting._asked) == min(at_once, BATCH), "a scorer is asked about no more at once"


class Breaking(Scorer):
    """Fails on some replies, and can't go on at one of them."""

    quick: ClassVar[bool] = True
    at: int = -1
    failing: tuple[int, ...] = ()

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        places = [int(reply.text.split()[1]) for reply in replies]
        if self.at in places:
            raise UserError("mend it")
        return [Score.failed("odd") if place in self.failing else Score(1.0) for place in places]


def test_what_a_quick_scorer_said_before_it_raised_is_given_back() -> None:
    with Scoring({"first": Noting(), "breaking": Breaking(at=7), "last": Noting()}, {"p00": PROMPTS[0]}) as scoring:
        scoring.ask(some_candidates(20))
        assert [candidate.key.sample_index for candidate, _ in scoring.answered()] == list(range(7))
        scoring.ask(some_candidates(5))
        with pytest.raises(UserError, match="mend it"):
            scoring.answered()


def test_too_many_failures_are_found_out_at_the_one_that_is_too_many() -> None:
    """Of 51 replies 6 are more than a tenth; of 64 they are not."""
    breaking = {"breaking": Breaking(failing=(0, 1, 2, 3, 4, 50))}

    def ask_all(size: int, heard: list[Scored]) -> None:
        with Scoring(breaking, {"p00": PROMPTS[0]}, Record(0.1)) as scoring:
            for start in range(0, 120, size):
                scoring.ask(some_candidates(120)[start : start + size])
                heard += scoring.answered()
            while scoring.owes:
                heard += scoring.wait()

    for size in (1, 64, 120):
        heard: list[Scored] = []
        with pytest.raises(ScoringError, match="6 of 51"):
            ask_all(size, heard)
        assert len(heard) == 120


@given(st.lists(st.booleans(), max_size=20), st.lists(st.integers(0, 400), min_size=20, max_size=20), st.integers(0, 2))
def test_a_tallys_numbers_are_those_of_its_candidates(outcomes: list[bool], tokens: list[int], first: int) -> None:
    tally = Tally.of(outcomes, tokens[: len(outcomes)])
    for one, so_far in ((tally, outcomes), (tally.first(first), outcomes[:first])):
        assert one.opening == tuple(zip(so_far, tokens, strict=False))[:2]
        assert (one.candidates, one.accepted) == (len(so_far), sum(so_far))
        assert one.tokens == sum(tokens[: len(so_far)])
        assert one.run == len("".join(map(str, map(int, so_far))).split("1")[-1])


@given(
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.permutations(range(12)),
    st.integers(1, 12),
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 4),
    st.integers(0, 3),
)
def test_what_is_surely_needed_of_a_round_stays_so(
    outcomes: list[bool], order: list[int], limit: int, stop_at: int | None, defer_after: int | None, had: int
) -> None:
    """As more becomes known, in whatever order: so nobody asks again where it is all that the round grants."""
    tally = Tally.of(outcomes[:had], [1] * had)
    granted = Even({"p": limit}, stop_at, defer_after).next_round({"p": tally})
    if granted is None:
        return

    def ended(fared: Tally) -> bool:
        assert granted is not None
        return granted.ended("p", fared)

    known: dict[int, bool] = {}
    least = needed(tally, limit, ended, known)
    for index in order:
        known[index] = outcomes[index]
        now = needed(tally, limit, ended, known)
        assert now >= least
        least = now
        while tally.candidates in known and tally.candidates < limit and not ended(tally):
            tally = tally.after(known[tally.candidates])
        assert needed(tally, limit, ended, known) == now, "what has come to count is no further knowledge"


RULES: Any = [SELECTION, ["polite >= 1", {"cap": 2}], [{"top_k": {"k": 2, "by": "tidy"}}], ["tidy >= 1"]]


@given(st.sampled_from(RULES), st.lists(st.integers(0, 5), max_size=14), st.randoms())
def test_what_a_candidate_adds_is_what_all_rules_say_of_the_first_ones(rules: Any, kinds: list[int], lots: Any) -> None:
    selection = parse_selection(rules)
    scored: list[Scored] = []
    for index, kind in enumerate(kinds):
        key = CandidateKey(1, "p", index, "g")
        whole = Candidate(key, f"Reply {kind}", (1,), "length" if kind == 5 else "stop", 0.0, 0.0)
        tidy = Score.failed("no") if kind == 4 else Score(float(kind % 2))
        scored.append((whole, {"polite": Score(float(kind > 1)), "tidy": tidy}))
    family = Family(selection)
    shuffled = list(scored)
    lots.shuffle(shuffled)
    learn({"p": family}, shuffled[:5])
    learn({"p": family}, shuffled[5:])
    most = 0
    for count in range(1, len(kinds) + 1):
        assert family.advance(count, lambda tally: False)
        first = scored[:count]
        accepted = selection.accepts(Pool.scored([one for one, _ in first], {one.key: said for one, said in first}))
        most = max(most, accepted)
        assert family.tally.accepted == most
    assert family.counted(2) == family.counted()[2:]
