"""How much, how fast, how soon again: pure, so time is told."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rsft.servers.limits import FIRST, MOST, Concurrency, Rate, retry_after, wait_before

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def round_trip(concurrency: Concurrency, requests: int, *, overloaded: bool = False) -> None:
    """So many are sent, as far as there is room, and then all land at once."""
    sent = [concurrency.sent() for _ in range(min(requests, concurrency.room))]
    for said in sent:
        concurrency.over(said, overloaded=overloaded, answered=not overloaded)


def test_concurrency_doubles_each_round_until_an_overload_and_then_grows_by_one() -> None:
    concurrency = Concurrency()
    limits = []
    for _ in range(3):
        round_trip(concurrency, 1000)
        limits.append(concurrency.limit)
    assert limits == [2 * FIRST, 4 * FIRST, 8 * FIRST]
    said = [concurrency.sent() for _ in range(concurrency.room)]
    concurrency.over(said.pop(), overloaded=True, answered=False)
    for one in said:
        concurrency.over(one, overloaded=False, answered=False)
    after_cut = concurrency.limit
    assert after_cut == pytest.approx(0.7 * 8 * FIRST)
    round_trip(concurrency, 1000)
    assert after_cut < concurrency.limit <= after_cut + 1.1


def test_answers_that_come_one_by_one_double_it_as_well() -> None:
    concurrency = Concurrency(first=4)
    flying = [concurrency.sent() for _ in range(4)]
    for _ in range(4):
        concurrency.over(flying.pop(0), overloaded=False, answered=True)
        flying += [concurrency.sent() for _ in range(concurrency.room)]
    assert concurrency.limit == 8


def test_a_limit_that_is_not_used_does_not_grow_beyond_twice_its_use() -> None:
    concurrency = Concurrency(first=16)
    for _ in range(100):
        round_trip(concurrency, 3)
    assert concurrency.limit == 16
    for _ in range(100):
        round_trip(concurrency, 10)
    assert concurrency.limit == 20


def test_one_round_of_overloads_cuts_once() -> None:
    concurrency = Concurrency(first=100)
    round_trip(concurrency, 100, overloaded=True)
    assert concurrency.limit == pytest.approx(70)
    round_trip(concurrency, 100, overloaded=True)
    assert concurrency.limit == pytest.approx(49)


def test_no_overload_leaves_less_than_one_nor_any_luck_more_than_the_most() -> None:
    concurrency = Concurrency(first=2)
    for _ in range(50):
        round_trip(concurrency, 10, overloaded=True)
    assert (concurrency.limit, concurrency.room) == (1, 1)
    concurrency = Concurrency(first=10 * MOST)
    for _ in range(3):
        round_trip(concurrency, 10**6)
    assert concurrency.limit == MOST


def test_a_fixed_concurrency_stays() -> None:
    concurrency = Concurrency(fixed=3, first=50)
    round_trip(concurrency, 3, overloaded=True)
    round_trip(concurrency, 3)
    assert concurrency.limit == 3


def test_failures_that_are_no_overload_change_nothing() -> None:
    concurrency = Concurrency(first=5)
    said = [concurrency.sent() for _ in range(5)]
    for one in said:
        concurrency.over(one, overloaded=False, answered=False)
    assert (concurrency.limit, concurrency.flying) == (5, 0)


@given(some.lists(some.tuples(some.booleans(), some.booleans(), some.integers(0, 5)), max_size=200))
def test_whatever_happens_what_flies_is_counted(events: list[tuple[bool, bool, int]]) -> None:
    concurrency, flying = Concurrency(first=4), list[int]()
    for lands, overloaded, which in events:
        if lands and flying:
            one = flying.pop(which % len(flying))
            concurrency.over(one, overloaded=overloaded, answered=not overloaded)
        elif concurrency.room:
            flying.append(concurrency.sent())
        assert concurrency.flying == len(flying)
        assert 1 <= concurrency.limit <= MOST
        assert concurrency.room == max(0, int(concurrency.limit) - len(flying))


def test_a_rate_gives_a_minutes_worth_and_then_so_much_a_minute() -> None:
    rate = Rate(60, now=0)
    assert [rate.take(1, now=0) for _ in range(60)] == [0] * 60
    assert [rate.take(1, now=0) for _ in range(3)] == [1, 2, 3]
    assert rate.take(1, now=10) == 0  # ten came in, of which three were owed
    assert rate.take(60, now=1000) == 0  # no more than a minute's worth is kept
    assert rate.take(1, now=1000) == 1


def test_more_than_a_minutes_worth_is_owed_and_not_refused() -> None:
    rate = Rate(100, now=0)
    assert rate.take(300, now=0) == pytest.approx(120)


def test_what_is_given_back_may_be_used_and_what_was_used_more_is_owed() -> None:
    rate = Rate(60, now=0)
    rate.take(60, now=0)
    rate.give_back(10)
    assert rate.take(10, now=0) == 0
    rate.give_back(-5)
    assert rate.take(0, now=0) == 5
    rate.give_back(10_000)
    assert rate.take(61, now=0) == 1


def test_no_rate_never_waits() -> None:
    rate = Rate(None, now=0)
    rate.give_back(5)
    assert rate.take(1e12, now=0) == 0


@given(some.integers(1, 10**6), some.none() | some.floats(0, 1e9), some.integers(0, 1000))
def test_waits_are_never_shorter_than_asked_for_nor_beyond_reason(
    attempt: int, asked_for: float | None, seed: int
) -> None:
    waited = wait_before(attempt, asked_for, random.Random(seed))
    assert min(asked_for or 0, 300) <= waited <= 300.5
    assert waited >= min(30, 0.5 * 2.0 ** min(attempt, 50)) / 4
    assert asked_for is not None or waited <= 30


def test_waits_grow_though_the_server_asks_for_none() -> None:
    waited = [min(wait_before(attempt, 0, random.Random(seed)) for seed in range(99)) for attempt in range(1, 7)]
    assert waited == sorted(waited)
    assert waited[-1] > 7


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "-1"}, 0),
        ({"retry-after": format_datetime(NOW, usegmt=True)}, 0),
        ({"retry-after": "Mon, 04 May 2026 12:00:30 GMT"}, 30),
        ({"retry-after": "Mon, 04 May 2026 12:00:30 -0000"}, 30),
        ({"retry-after": "Mon, 04 May 2026 12:00:30"}, 30),
        ({"retry-after": "Mon, 04 May 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "²"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after-ms": "many"}, None),
    ],
)
def test_what_an_answer_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW.timestamp()) == seconds


@given(some.text(max_size=40))
def test_no_header_is_too_odd(said: str) -> None:
    found = retry_after({"retry-after": said}, NOW.timestamp())
    assert found is None or found >= 0
