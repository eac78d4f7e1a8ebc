"""Between budget, engine and scorers: what is needed is drawn, what is not is not, and no order changes anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import PrivateAttr

from rsft import scoring
from rsft.budget import Budget, Even, Tally
from rsft.drawing import Drawing, Order
from rsft.drawn import Drawn
from rsft.engines.base import CANCELLED, Cancelled, Pace, Request, Sampling, Watch
from rsft.engines.scripted import Script, ScriptedEngine
from rsft.engines.writers import Writer, Writers
from rsft.errors import ScoringError
from rsft.family import needed
from rsft.progress import Silent
from rsft.scorers import Scorer, build_scorers
from rsft.scoring import Record, Scored, Scoring, score_owed
from rsft.selection import parse_selection
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey, Message, Policy, Prompt, Reply, SamplingParams, Score
from rsft.watching import Watching

PROMPTS = [Prompt(f"p{i:02}", (Message("user", f"question {i}"),), ()) for i in range(20)]
IDS = [prompt.id for prompt in PROMPTS]
PARAMS = SamplingParams(0.7, max_tokens=60)
REPLIES = ["Good: {prompt}", "Good and well", "Bad: {prompt}", "Bad", "Good", "Well", "Bad\nand worse"]
SCORERS = {"polite": {"type": "format", "pattern": "Good.*"}, "tidy": "one_line"}
SELECTION = ["polite >= 1", "tidy >= 1", "no_duplicates", {"cap": 3}]


class BusyEngine(ScriptedEngine):
    """Works on several candidates at a time and finishes them in an order of its own."""

    def __init__(self, places: int = 16, backwards: bool = False) -> None:
        super().__init__(Script(replies=REPLIES))
        self.places, self.backwards = places, backwards
        self.drawn = 0

    def sample(
        self, policy: Policy, requests: Sequence[Request], watch: Watch | None = None, pace: Pace | None = None
    ) -> Sampling:
        honest = super().sample

        def draw(cancelled: Cancelled) -> Iterator[Candidate]:
            waiting = sorted(requests, key=lambda request: (request.prompt.id, request.key.sample_index))
            making: list[Request] = []
            while waiting or making:
                for queue in (waiting, making):
                    for request in [one for one in queue if one.key in cancelled]:
                        queue.remove(request)
                        yield Candidate(request.key, "", (), "cancelled", 0.0, 0.0, CANCELLED)
                for request in list(waiting):
                    if len(making) < self.places and (
                        pace is None or request.key.sample_index < pace.bound(request.prompt.id)
                    ):
                        waiting.remove(request)
                        making.append(request)
                if making:
                    done, making = (making[-4:], making[:-4]) if self.backwards else (making[:4], making[4:])
                    for request in done:
                        self.drawn += 1
                        yield from honest(policy, [request], watch)
                elif waiting and pace is not None:
                    pace.wait()

        return Sampling(draw)


class Pondering(Scorer):
    """1, after a while."""

    seconds: float = 0.05

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        time.sleep(self.seconds)
        return [Score(1.0) for _ in replies]


@pytest.fixture
def drawing(tmp_path: Path) -> Iterator[Callable[..., Drawing]]:
    opened: list[Any] = []

    def make(engine: Any, scorers: dict[str, Scorer] | None = None, name: str = "run") -> Drawing:
        context = RunFolder.open(tmp_path / name, write=True)
        folder = context.__enter__()
        opened.append(context)
        parts = SimpleNamespace(
            train=PROMPTS,
            heldout=[],
            engine=engine,
            writers=Writers([Writer(engine)]),
            scorers=build_scorers(SCORERS) | (scorers or {}),
            selection=parse_selection(SELECTION),
        )
        recipe = SimpleNamespace(seed=0, scoring=SimpleNamespace(max_failed=1.0, max_seconds=60))
        return Drawing(folder, parts, recipe, Silent())  # type: ignore[arg-type]

    yield make
    for context in opened:
        context.__exit__(None, None, None)


def even(count: int = 8, stop_at: int | None = 3) -> Budget:
    return Even(dict.fromkeys(IDS, count), stop_at)


def draw(drawing: Drawing, budget: Budget, *, watched: bool = True) -> Drawn:
    watching = Watching.of(drawing.parts.scorers, drawing.parts.selection) if watched else None
    (drawn,) = drawing.by_budget(1, drawing.parts.engine.base, PARAMS, drawing.parts.selection, budget, IDS, watching)
    assert {c.key for c in drawn.candidates} <= drawing.folder.candidate_keys(), "what counts is kept"
    return drawn


def by_index(drawn: Drawn) -> dict[tuple[str, int], str]:
    return {(c.key.prompt_id, c.key.sample_index): c.text for c in drawn.candidates}


def accepted(drawing: Drawing, drawn: Drawn) -> set[tuple[str, int]]:
    decisions = drawing.parts.selection.decide(drawn.pool)
    return {
        (c.key.prompt_id, c.key.sample_index) for c, d in zip(drawn.candidates, decisions, strict=True) if d.accepted
    }


def test_a_prompt_is_drawn_until_it_has_enough_and_never_a_token_more(drawing: Callable[..., Drawing]) -> None:
    here = drawing(BusyEngine())
    drawn = draw(here, even())
    assert drawn.unneeded_tokens == 0
    counts = {p: [c.key.sample_index for c in drawn.candidates if c.key.prompt_id == p] for p in IDS}
    taken = accepted(here, drawn)
    for p, indices in counts.items():
        assert indices == list(range(len(indices)))
        of_prompt = [i for q, i in taken if q == p]
        assert len(indices) == 8 or (len(of_prompt) == 3 and max(of_prompt) == indices[-1])
    assert any(len(indices) < 8 for indices in counts.values())


@pytest.mark.parametrize("watched", [True, False])
def test_neither_order_nor_haste_changes_what_counts(drawing: Callable[..., Drawing], watched: bool) -> None:
    engines = [BusyEngine(places=n, backwards=b) for n in (1, 5, 200) for b in (False, True)]
    slow = {"pondering": Pondering(seconds=0.003)}
    found = [
        by_index(draw(drawing(engine, slow if i % 2 else None, f"run{i}"), even(), watched=watched))
        for i, engine in enumerate(engines)
    ]
    assert all(one == found[0] for one in found)


def test_early_rejection_loses_nothing_and_saves_tokens(drawing: Callable[..., Drawing]) -> None:
    for budget in (even(), even(stop_at=None)):
        kinds = []
        for watched in (True, False):
            here = drawing(BusyEngine(), name=f"run{budget.stop_at}{watched}")
            drawn = draw(here, budget, watched=watched)
            kinds.append((accepted(here, drawn), sum(len(c.token_ids) for c in drawn.candidates)))
        (with_it, fewer), (without, more) = kinds
        assert with_it == without
        assert fewer < 0.8 * more


def test_what_ended_early_says_which_rule_and_why(drawing: Callable[..., Drawing]) -> None:
    here = drawing(BusyEngine())
    drawn = draw(here, even(stop_at=None))
    decisions = here.parts.selection.decide(drawn.pool)
    ended = [(c, d) for c, d in zip(drawn.candidates, decisions, strict=True) if c.finish_reason == "ended"]
    assert ended
    for candidate, decision in ended:
        assert decision.rule == candidate.ended_by == "polite >= 1"
        assert "can't match the pattern any more" in decision.explanation
        assert f"ended after {len(candidate.token_ids)} tokens" in decision.explanation
    other = parse_selection(["tidy >= 1"]).decide(drawn.pool)
    assert {other[drawn.candidates.index(c)].rule for c, _ in ended} == {"finished"}, "it was not that rule's to say"


def test_an_interrupted_draw_goes_on_and_comes_to_the_same(drawing: Callable[..., Drawing]) -> None:
    whole = drawing(BusyEngine(), name="whole")
    expected = draw(whole, even())

    class Stop(Exception):
        pass

    for after in (1, 30, 70):
        here = drawing(BusyEngine(backwards=True), name=f"cut{after}")
        here.tell = SimpleNamespace(advance=_raise_after(after, Stop))  # type: ignore[assignment]
        with pytest.raises(Stop):
            draw(here, even())
        here.tell = Silent()
        resumed = draw(here, even())
        assert by_index(resumed) == by_index(expected)
        assert resumed.scores.keys() == {c.key for c in resumed.candidates}
        again = draw(here, even())
        assert (by_index(again), again.drawn_tokens) == (by_index(expected), 0), "nothing is left to draw"


def _raise_after(calls: int, error: type[Exception]) -> Callable[..., None]:
    seen = iter(range(calls))

    def advance(*_: int) -> None:
        if next(seen, None) is None:
            raise error

    return advance


class Waiting(Scorer):
    """1, but not before the engine has drawn so many candidates."""

    def __init__(self, engine: BusyEngine, drawn: int) -> None:
        super().__init__()
        self._engine, self._drawn = engine, drawn

    _engine: Any = PrivateAttr()
    _drawn: int = PrivateAttr()

    def score(self, replies: Sequence[Reply]) -> list[Score | None]:
        for _ in range(3000):
            if self._engine.drawn >= self._drawn:
                return [Score(1.0) for _ in replies]
            time.sleep(0.01)
        return [None for _ in replies]  # the engine waits for the scorer


def test_a_slow_scorer_stalls_no_engine(drawing: Callable[..., Drawing]) -> None:
    engine = BusyEngine()
    drawn = draw(drawing(engine, {"waiting": Waiting(engine, 160)}), even(8, None))
    assert all(said["waiting"].value == 1.0 for key, said in drawn.scores.items() if said["tidy"].value is not None)
    assert by_index(drawn) == by_index(draw(drawing(BusyEngine(), name="other"), even(8, None)))


def test_an_engine_that_has_nothing_else_to_do_draws_what_may_turn_out_unneeded(
    drawing: Callable[..., Drawing],
) -> None:
    """Three of each prompt are surely needed, and the scorer says nothing before there are more."""
    engine = BusyEngine(places=200)
    drawn = draw(drawing(engine, {"waiting": Waiting(engine, 61)}), even(), watched=False)
    assert drawn.unneeded_tokens > 0
    assert all(said["waiting"].value == 1.0 for key, said in drawn.scores.items() if said["tidy"].value is not None)
    assert by_index(drawn) == by_index(draw(drawing(BusyEngine(), name="other"), even(), watched=False))


def test_a_scorer_that_breaks_down_breaks_the_draw_and_hangs_nothing(drawing: Callable[..., Drawing]) -> None:
    class Dying(Scorer):
        def score(self, replies: Sequence[Reply]) -> list[Score]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(drawing(BusyEngine(), {"dying": Dying()}), even())


def test_slow_scorers_get_batches_and_quick_ones_answer_at_once() -> None:
    sizes: list[int] = []

    class Counting(Pondering):
        def score(self, replies: Sequence[Reply]) -> list[Score]:
            sizes.append(len(replies))
            return super().score(replies)

    keys = [CandidateKey(1, "p00", index, "g") for index in range(50)]
    candidates = [Candidate(key, "Good", (1,), "stop", 0.0, 0.0) for key in keys]
    quick = build_scorers({"tidy": "one_line"})
    with Scoring(quick, {"p00": PROMPTS[0]}) as scoring:
        scoring.ask([candidates[0]])
        assert len(scoring.answered()) == 1
    with Scoring({"slow": Counting(), **quick}, {"p00": PROMPTS[0]}) as scoring:
        for candidate in candidates:
            scoring.ask([candidate])
        scoring.ask([Candidate(CandidateKey(1, "p00", 99, "g"), "", (), "ended", 0.0, 0.0, "dull", "rule")])
        heard = []
        while scoring.owes:
            heard += scoring.wait()
        heard += scoring.answered()
    assert {candidate.key for candidate, _ in heard} == {*keys, CandidateKey(1, "p00", 99, "g")}
    assert len(sizes) < 10, "what came meanwhile is scored together"
    unfinished = next(said for candidate, said in heard if candidate.finish_reason == "ended")
    assert all(score.value is None for score in unfinished.values())


def test_orders_draw_everything_and_are_not_watched(drawing: Callable[..., Drawing]) -> None:
    here = drawing(BusyEngine())
    orders = [Order(dict.fromkeys(IDS, 1), SamplingParams(0, max_tokens=60)), Order({"p03": 4}, PARAMS, start=1)]
    greedy, sampled = here.by_orders(2, here.parts.engine.base, orders)
    assert [c.key.sample_index for c in sampled.candidates] == [1, 2, 3, 4]
    assert {c.text for c in greedy.candidates} == {f"Good: question {i}" for i in range(20)}
    assert not any(c.finish_reason == "ended" for c in (*greedy.candidates, *sampled.candidates))


@given(
    st.lists(st.booleans(), max_size=6),
    st.integers(1, 8),
    st.integers(1, 4),
    st.dictionaries(st.integers(0, 9), st.booleans()),
)
def test_what_is_surely_needed_is_needed_whatever_comes(
    outcomes: list[bool], limit: int, stop_at: int, known: dict[int, bool]
) -> None:
    def ended(tally: Tally) -> bool:
        return tally.accepted >= stop_at

    tally = Tally()
    for outcome in outcomes:
        if tally.candidates < limit and not ended(tally):
            tally = tally.after(outcome)
    count = needed(tally, limit, ended, known)
    for rest in range(2**limit):
        after = tally
        while after.candidates < limit and not ended(after):
            n = after.candidates
            after = after.after(known.get(n, bool(rest >> n & 1)))
        assert after.candidates >= count


def some_candidates(count: int) -> list[Candidate]:
    keys = [CandidateKey(1, "p00", index, "g") for index in range(count)]
    return [Candidate(key, f"Reply {key.sample_index}", (1,), "stop", 0.0, 0.0) for key in keys]


class Failing(Scorer):
    """Fails on the first so many candidates."""

    first: int

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [Score.failed("away") if int(r.text.split()[1]) < self.first else Score(1.0) for r in replies]


class QuicklyFailing(Failing):
    quick: ClassVar[bool] = True


@pytest.mark.parametrize("kind", [Failing, QuicklyFailing])
def test_what_was_scored_before_a_scorer_failed_too_often_is_given_back(kind: type[Failing]) -> None:
    heard: list[Scored] = []

    def draw_all() -> None:
        with Scoring({"broken": kind(first=1000)}, {"p00": PROMPTS[0]}, Record(0.1)) as scoring:
            for candidate in some_candidates(70):
                scoring.ask([candidate])
                heard.extend(scoring.answered())
            while scoring.owes:
                heard.extend(scoring.wait())

    with pytest.raises(ScoringError, match="away"):
        draw_all()
    assert len(heard) >= 50, "no fewer have been asked when it is found out"


def test_what_is_heard_while_the_engine_waits_is_kept_though_it_only_cancels_then(
    drawing: Callable[..., Drawing],
) -> None:
    """The last words on what counts come while the engine waits for the pace; then all that is left is cancelled."""
    engine = BusyEngine(places=16)
    for wait in (61, 70, 80, 100):
        here = drawing(engine, {"waiting": Waiting(engine, wait)}, name=f"heard{wait}")
        engine.drawn = 0
        draw(here, even(), watched=False)


def test_a_failing_scorer_loses_no_candidate(drawing: Callable[..., Drawing]) -> None:
    class Broken(Scorer):
        def score(self, replies: Sequence[Reply]) -> list[Score]:
            return [Score.failed("away") for _ in replies]

    for draws in (
        lambda here: draw(here, even(), watched=False),
        lambda here: here.by_orders(1, here.parts.engine.base, [Order(dict.fromkeys(IDS, 8), PARAMS)]),
    ):
        here = drawing(BusyEngine(), {"broken": Broken()}, name=f"lost{id(draws)}")
        here.record = Record(0.1)
        with pytest.raises(ScoringError):
            draws(here)
        assert len(here.folder.candidates()) >= 50


def test_the_budget_for_failures_is_of_the_whole_run() -> None:
    """Failed ones come first when a run goes on; what was scored before counts beside them, and each counts once."""
    candidates, failing = some_candidates(200), {"failing": Failing(first=60)}
    known = {candidate.key: {"failing": Score(1.0)} for candidate in candidates[60:]}
    record = Record(0.4)
    for _ in range(3):
        scored = list(score_owed(failing, {"p00": PROMPTS[0]}, record, candidates, known))
        assert sum(said["failing"].value is None for _, said in scored) == 60
    with pytest.raises(ScoringError, match="60 of 200"):
        list(score_owed(failing, {"p00": PROMPTS[0]}, Record(0.2), candidates, known))


def test_failures_that_last_do_not_end_a_run_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what was scored before only what failed is asked again: that must not pass for nothing but failures."""
    monkeypatch.setattr(scoring, "_COUNTED", 100)
    candidates = some_candidates(1000)
    failing = {"failing": Failing(first=1000)}
    known = {
        one.key: {"failing": Score.failed("no") if n % 20 == 0 else Score(1.0)} for n, one in enumerate(candidates)
    }
    again = list(score_owed(failing, {"p00": PROMPTS[0]}, Record(0.1), candidates, known))
    assert sum(said["failing"].value is None for _, said in again) == 50
    with pytest.raises(ScoringError):
        list(score_owed(failing, {"p00": PROMPTS[0]}, Record(0.04), candidates, known))


def test_a_scorers_backlog_is_dropped_once_nobody_waits_for_it() -> None:
    asked: list[int] = []

    class Slow(Pondering):
        def score(self, replies: Sequence[Reply]) -> list[Score]:
            asked.append(len(replies))
            return super().score(replies)

    with Scoring({"slow and left": Slow(seconds=0.2)}, {"p00": PROMPTS[0]}) as scoring:
        for candidate in some_candidates(1000):
            scoring.ask([candidate])
    for thread in threading.enumerate():
        if thread.name == "scorer slow and left":
            thread.join(30)
    assert sum(asked) < 1000
