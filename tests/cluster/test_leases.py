"""Leases: whatever workers do, each request is answered once, and nobody goes further than the pace lets him."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsft.cluster.leases import Leases, News
from rsft.engines.base import Cancelled, Request
from rsft.types import Candidate, CandidateKey, Message, Prompt, SamplingParams


def request(prompt_id: str, index: int) -> Request:
    prompt = Prompt(prompt_id, (Message("user", prompt_id),), ())
    return Request(CandidateKey(1, prompt_id, index, "g"), prompt, index, SamplingParams())


def requests(prompts: int, each: int) -> list[Request]:
    return [request(f"p{number}", index) for number in range(prompts) for index in range(each)]


def drawn(key: CandidateKey, text: str = "said") -> Candidate:
    return Candidate(key, text, (1, 2), "stop", 0.0, 0.0)


def told(leases: Leases, now: float = 0.0) -> dict[str, News]:
    return dict(leases.news(now))


def test_each_has_work_for_twice_what_it_works_on_and_the_last_is_shared_out() -> None:
    leases = Leases(requests(100, 4))
    leases.join("a", 20)
    leases.join("b", 10)
    said = told(leases)
    assert {worker: len(news.requests) for worker, news in said.items()} == {"a": 40, "b": 20}
    few = Leases(requests(6, 4))
    few.join("a", 20)
    few.join("b", 20)
    assert {worker: len(news.requests) for worker, news in told(few).items()} == {"a": 12, "b": 12}


def test_a_prompt_stays_with_one_worker_until_it_is_gone() -> None:
    bounds = Counter({"p0": 1, "p1": 1})
    leases = Leases(requests(2, 6), lambda prompt_id: bounds[prompt_id])
    leases.join("a", 1)
    leases.join("b", 1)
    said = told(leases)
    holder = {news.requests[0].prompt.id: worker for worker, news in said.items()}
    assert set(holder.values()) == {"a", "b"}
    assert leases.came(holder["p0"], [drawn(CandidateKey(1, "p0", 0, "g"))], 1.0)
    bounds["p0"] = 4
    leases.look()
    assert {worker: news.bounds for worker, news in told(leases).items()} == {holder["p0"]: {"p0": 4}}
    leases.leave(holder["p0"])
    other = holder["p1"]
    leases.came(other, [drawn(CandidateKey(1, "p1", 0, "g"))], 1.0)
    (news,) = told(leases).values()
    assert [one.key.sample_index for one in news.requests] == [1, 2, 3, 4, 5]
    assert news.bounds["p0"] == 4


def test_a_late_duplicate_is_dropped_by_its_key() -> None:
    leases = Leases(requests(1, 2))
    leases.join("a", 4)
    told(leases)
    leases.leave("a")
    leases.join("b", 4)
    told(leases)
    first = drawn(CandidateKey(1, "p0", 0, "g"), "of a, that was given up too soon")
    assert leases.came("a", [first], 1.0) == [first]
    assert leases.came("b", [drawn(first.key, "of b")], 1.0) == []
    assert leases.owed == 1


def test_a_slow_worker_is_overtaken_and_told_what_it_need_not_do() -> None:
    leases = Leases(requests(40, 1))
    leases.join("quick", 8)
    leases.join("slow", 8)
    done = 0
    held: dict[str, list[CandidateKey]] = {"quick": [], "slow": []}
    now = 0.0
    cancelled: set[CandidateKey] = set()
    while leases.owed:
        for worker, news in leases.news(now):
            held[worker] += [one.key for one in news.requests]
            cancelled |= news.cancelled.keys if worker == "slow" else set()
        came, held["quick"] = held["quick"], []
        done += len(leases.came("quick", [drawn(key) for key in came], now))
        now += 0.5
        assert now < 100
    assert done == 40
    assert leases.overtaken
    assert len(set(held["slow"]) - cancelled) == 1  # the last one, after which there is nobody to be told


def test_one_prompt_with_thousands_of_candidates_keeps_all_busy() -> None:
    leases = Leases(requests(1, 1000))
    for number in range(8):
        leases.join(str(number), 32)
    assert [len(news.requests) for news in told(leases).values()] == [64] * 8


def test_what_is_cancelled_is_answered_at_once_unless_somebody_holds_it() -> None:
    leases = Leases(requests(2, 3))
    leases.join("a", 1)
    (news,) = told(leases).values()
    held = news.requests[0].prompt.id
    gone = leases.cancel(Cancelled(prompts={"p0", "p1"}))
    assert {one.key.prompt_id for one in gone} == {"p0", "p1"} - {held}
    (news,) = told(leases).values()
    assert held in news.cancelled.prompts
    rest = leases.leave("a")
    assert all(one.finish_reason == "cancelled" for one in [*gone, *rest])
    assert len(gone) + len(rest) == 6
    assert leases.owed == 0


def test_who_overtakes_hears_what_is_cancelled_already() -> None:
    bounds = {"p0": 1, "p1": 9}
    leases = Leases([*requests(1, 4), request("p1", 0)], lambda prompt_id: bounds[prompt_id])
    leases.join("stuck", 8)
    told(leases)
    leases.came("stuck", [drawn(CandidateKey(1, "p1", 0, "g"))], 0.5)
    leases.cancel(Cancelled(prompts={"p0"}))
    leases.join("quick", 8)
    news = told(leases, 100.0)["quick"]
    assert news.cancelled.keys == {one.key for one in news.requests}
    leases.leave("stuck")
    brought = [Candidate(one.key, "", (), "cancelled", None, None, "") for one in news.requests]
    assert len(leases.came("quick", brought, 101.0)) == 4
    assert leases.owed == 0


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 40), st.integers(1, 5))
def test_whatever_happens_each_is_answered_once(seed: int, prompts: int, each: int, workers: int) -> None:
    """Workers come, die, are slow, bring things twice and late; bounds move; prompts and candidates are cancelled."""
    chance = random.Random(seed)
    bounds = {f"p{number}": chance.randrange(each + 1) for number in range(prompts)}
    wanted = requests(prompts, each)
    leases = Leases(wanted, lambda prompt_id: bounds[prompt_id])
    cancelled = Cancelled()
    holds: dict[str, dict[CandidateKey, None]] = {}
    knows: dict[str, dict[str, int]] = {}
    unwanted: dict[str, Cancelled] = {}
    answers: Counter[CandidateKey] = Counter()
    names, now = 0, 0.0
    for turn in range(100_000):
        now += chance.random()
        if not leases.owed:
            break
        if len(holds) < workers and chance.random() < 0.5:
            names += 1
            name = f"w{names}"
            holds[name], knows[name], unwanted[name] = {}, {}, Cancelled()
            leases.join(name, chance.randrange(1, 9))
        if holds and chance.random() < 0.02:
            name = chance.choice(list(holds))
            answers.update(one.key for one in leases.leave(name))
            late = [drawn(key) for key in list(holds.pop(name))[:2]]
            answers.update(one.key for one in leases.came(name, late, now))  # a last word of the dead
        if chance.random() < 0.2 or turn > 200:
            prompt_id = chance.choice(list(bounds))
            bounds[prompt_id] = min(each, bounds[prompt_id] + 1 + turn // 200)
            leases.look()
        if chance.random() < 0.02:
            cancelled.prompts.add(chance.choice(list(bounds)))
            answers.update(one.key for one in leases.cancel(cancelled))
        if chance.random() < 0.05:
            cancelled.keys.add(chance.choice(wanted).key)
            answers.update(one.key for one in leases.cancel(cancelled))
        for name, news in leases.news(now):
            holds[name] |= dict.fromkeys(one.key for one in news.requests)
            knows[name] |= news.bounds
            unwanted[name].keys |= news.cancelled.keys
            unwanted[name].prompts |= news.cancelled.prompts
        for name, held in holds.items():
            ready = [key for key in held if key.sample_index < knows[name][key.prompt_id] or key in unwanted[name]]
            some = chance.sample(ready, min(len(ready), chance.randrange(4)))
            brought = []
            for key in some:
                del held[key]
                assert key in unwanted[name] or key.sample_index < bounds[key.prompt_id]
                ended = key in unwanted[name] and chance.random() < 0.7
                brought.append(Candidate(key, "", (), "cancelled", None, None, "") if ended else drawn(key))
            first = leases.came(name, brought, now)
            answers.update(one.key for one in first)
            assert all(one.finish_reason != "cancelled" or one.key in cancelled for one in first)
    assert answers == Counter(one.key for one in wanted)
    assert leases.in_the_making == 0


def test_a_worker_that_is_unknown_leaves_nothing_behind() -> None:
    leases = Leases(requests(1, 1))
    assert leases.leave("nobody") == []
    with pytest.raises(StopIteration):
        next(leases.news(0.0))
