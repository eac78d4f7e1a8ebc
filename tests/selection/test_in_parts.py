"""Rules that decide on some prompts at a time decide as on all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rsft import registry
from rsft.selection import Pool, cut, parse_selection
from rsft.selection.cut import Ranked
from rsft.selection.pool import End, Places
from rsft.types import Candidate, CandidateKey, Score

WORDS = ["a", "reply", "of", "words", "that", "may", "be", "the", "same", "or", "not", "12", "7"]
RULES: list[Any] = [
    "facts >= 0.5",
    "relevant > 0.3",
    {"top_k": {"k": 2, "by": "relevant"}},
    {"best_of_n": {"n": 3, "by": "facts"}},
    {"cap": 2},
    {"quantile": {"share": 0.4, "by": "relevant"}},
    {"quantile": {"share": 0.6, "by": "facts"}},
    {"quantile": {"share": [0.9, 0.5], "by": "facts", "per": "prompt"}},
    {"balance": 3},
    {"balance": {"bins": 2, "shares": [0.8, 0.2]}},
    {"length_matched": 4},
    {"length_matched": {"bins": 3, "by": "facts"}},
    {"statistical_rejection": {"temperature": 0.4, "by": "relevant"}},
    {"statistical_rejection": {"temperature": 0.4, "by": "relevant", "per": "all"}},
    {"pareto": ["relevant", "facts"]},
    {"agreement": {"least": 0.3, "answer": "last_number"}},
    {"most_novel": 2},
    {"better_than": {"baseline": "greedy", "by": "facts", "at_least": 0.1}},
    "no_duplicates",
    {"no_near_duplicates": 0.5},
]
WHOLE: list[Any] = [{"no_duplicates": {"across_prompts": True}}, {"no_near_duplicates": {"across_prompts": True}}]
"""What must see all texts at once."""


def drawn(chance: np.random.Generator, prompts: int) -> Pool:
    """A pool with few different values, failed scores, unfinished replies and prompts of any size."""
    candidates, facts, relevant = [], [], []
    for prompt in range(prompts):
        for sample in range(int(chance.integers(1, 9))):
            text = " ".join(chance.choice(WORDS, int(chance.integers(0, 7))))
            ends = "stop" if chance.random() < 0.85 else "length"
            key = CandidateKey(2, f"p{prompt}", sample, "g")
            candidates.append(Candidate(key, text, (1,), ends, None, None))
            facts.append(Score(float(chance.integers(0, 4)) / 3) if chance.random() < 0.9 else Score.failed("no"))
            values = (float(chance.random()), float(chance.integers(-2, 3)), -0.0)
            relevant.append(Score(values[int(chance.choice(3, p=[0.5, 0.4, 0.1]))]))
    order = chance.permutation(len(candidates))
    scores = {"facts": [facts[at] for at in order], "relevant": [relevant[at] for at in order]}
    return beside_greedy(Pool.of([candidates[at] for at in order], scores))


def beside_greedy(pool: Pool) -> Pool:
    """The same beside the facts of a baseline that every other prompt has."""
    facts = [0.3 if int(prompt_id[1:]) % 2 == 0 else np.nan for prompt_id in pool.prompt_ids]
    return replace(pool, baselines={"greedy": {"facts": np.array(facts)}})


def parts_of(pool: Pool, most: int) -> list[tuple[np.ndarray[Any, Any], Pool]]:
    """Pools of at most so many prompts each, with the places of theirs in the whole."""
    parts = []
    for first in range(0, len(pool.prompt_ids), most):
        places = np.flatnonzero((pool.prompt_N >= first) & (pool.prompt_N < first + most))
        part = Pool(
            prompt_ids=pool.prompt_ids[first : first + most],
            prompt_N=pool.prompt_N[places] - first,
            sample_N=pool.sample_N[places],
            whole_N=pool.whole_N[places],
            scores={name: values_N[places] for name, values_N in pool.scores.items()},
            details=Some(pool.details, places),
            iteration=pool.iteration,
        )
        parts.append((places, beside_greedy(part)))
    return parts


class Some:
    """Details of some candidates, by their places among these."""

    def __init__(self, whole: Any, places: Places) -> None:
        self._whole, self._places = whole, places

    @property
    def texts(self) -> list[str]:
        return [self._whole.texts[place] for place in self._places]

    def end(self, place: int) -> End:
        return self._whole.end(self._places[place])

    def score(self, name: str, place: int) -> Score:
        return self._whole.score(name, self._places[place])

    def ended_by(self, places: Places) -> list[str | None]:
        return self._whole.ended_by(self._places[places])


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    def set_to(bins: int, held: int) -> None:
        monkeypatch.setattr(cut, "_BINS", bins)
        monkeypatch.setattr(cut, "_HELD", held)

    return set_to


@pytest.mark.parametrize("seed", range(30))
def test_any_rules_decide_on_parts_as_on_all(seed: int, narrow: Callable[[int, int], None]) -> None:
    chance = np.random.default_rng(seed)
    pool = drawn(chance, int(chance.integers(1, 40)))
    said = [RULES[at] for at in chance.choice(len(RULES), int(chance.integers(1, 5)), replace=False)]
    selection = parse_selection(said)
    assert selection.in_parts
    whole = selection.decide(pool)
    narrow(int(2 ** chance.integers(4, 9)), int(chance.integers(0, 30)))
    assert (selection.decide(pool).by_N == whole.by_N).all()  # however few numbers are counted or held at once
    parts = parts_of(pool, int(chance.integers(1, 12)))
    surveyed = selection.surveyed(lambda: (part for _, part in parts))
    for places, part in parts:
        now = surveyed.decide(part)
        assert (now.by_N == whole.by_N[places]).all()
        assert list(now) == [whole[int(place)] for place in places]
        for number, rule in enumerate(now.rules):
            margins, of_all = (
                rule.margins(part, now.alive_N(number)),
                whole.rules[number].margins(pool, whole.alive_N(number)),
            )
            assert (margins is None) == (of_all is None)
            assert margins is None or of_all is None or np.array_equal(margins, of_all[places], equal_nan=True)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_each_rule_decides_on_parts_as_on_all(rule: Any, narrow: Callable[[int, int], None]) -> None:
    narrow(16, 5)
    for seed in range(5):
        pool = drawn(np.random.default_rng(seed), 30)
        selection = parse_selection([rule])
        whole = selection.decide(pool)
        assert 0 < whole.accepted_N.sum() < len(pool)
        parts = parts_of(pool, 7)
        surveyed = selection.surveyed(lambda parts=parts: (part for _, part in parts))
        for places, part in parts:
            assert (surveyed.decide(part).by_N == whole.by_N[places]).all()


def test_every_rule_says_whether_parts_will_do() -> None:
    names = {
        next(iter(rule)) if isinstance(rule, dict) else rule
        for rule in RULES
        if " " not in str(rule) or isinstance(rule, dict)
    }
    assert names == set(registry.RULES) - {"certified", "no_similar", "threshold"}
    for rule in WHOLE:
        assert not parse_selection(["facts >= 1", rule]).in_parts


def test_a_rule_of_ones_own_sees_all_unless_it_says_otherwise() -> None:
    from rsft.selection import Rule, Selection

    class Mine(Rule):
        pass

    class Local(Mine):
        by_prompt = True

    assert not Selection([Mine()]).in_parts
    assert Selection([Local()]).in_parts


@pytest.mark.parametrize("seed", range(20))
def test_a_cut_is_where_a_sorted_order_ends(seed: int, narrow: Callable[[int, int], None]) -> None:
    chance = np.random.default_rng(seed)
    groups, count = int(chance.integers(1, 5)), int(chance.integers(0, 300))
    narrow(int(2 ** chance.integers(3, 8)), int(chance.integers(0, 40)))
    values = chance.choice([chance.normal(size=count) * 1e3, np.round(chance.normal(size=count)), np.zeros(count)])
    lots = chance.permutation(np.unique(chance.integers(0, 2**63, 2 * count, dtype=np.uint64)))[:count]
    group = chance.integers(0, groups, count).astype(np.int32)
    most = chance.integers(0, np.bincount(group, minlength=groups) + 1)
    wanted = np.zeros(count, dtype=np.bool_)
    for number in range(groups):
        own = np.flatnonzero(group == number)
        wanted[own[np.lexsort((lots[own], -values[own]))][: most[number]]] = True
    bounds = np.sort(chance.integers(0, count + 1, 4))

    def parts() -> Iterator[Ranked]:
        for some in np.split(np.arange(count), bounds):
            yield values[some], lots[some], group[some]

    found = cut.cut(parts, most)
    assert (found.within((values, lots, group)) == wanted).all()
    by_lot = cut.cut(lambda: ((None, *rest) for _, *rest in parts()), most)
    for number in range(groups):
        own = np.flatnonzero(group == number)
        assert set(own[by_lot.within((None, lots[own], group[own]))]) == set(own[np.argsort(lots[own])][: most[number]])


def test_lengths_are_cut_as_a_quantile_of_all_would() -> None:
    from rsft.selection.shares import _lines

    for seed in range(50):
        chance = np.random.default_rng(seed)
        words = chance.integers(0, int(chance.integers(1, 60)), int(chance.integers(1, 400))).astype(np.int32)
        bins = int(chance.integers(2, 12))
        wanted = np.unique(np.quantile(words, np.arange(1, bins) / bins, method="inverted_cdf"))
        assert _lines(iter(np.array_split(words, 3)), bins).tolist() == wanted.tolist()
    assert _lines(iter([]), 3).tolist() == []
