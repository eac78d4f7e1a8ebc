"""Metrics against closed forms."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, spearmanr

from rsft import metrics
from rsft.text import normalise, words


@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_share_is_wilsons(passed: list[bool]) -> None:
    said = metrics.share(passed)
    expected = binomtest(sum(passed), len(passed)).proportion_ci(method="wilson")
    assert (said.value, said.n) == (sum(passed) / len(passed), len(passed))
    assert (said.low, said.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_share_of_nothing_is_anything() -> None:
    assert metrics.share([]) == metrics.Interval(0.0, 0.0, 1.0, 0)


@pytest.mark.parametrize("passed", [[True, False, False, True, False], [False] * 4, [True] * 3])
def test_pass_at_counts_every_choice(passed: list[bool]) -> None:
    for k in range(1, len(passed) + 1):
        chosen = list(combinations(passed, k))
        expected = sum(any(some) for some in chosen) / len(chosen)
        assert metrics.pass_at(k, [sum(passed)], len(passed)) == pytest.approx(expected)
    with pytest.raises(ValueError, match="needs 1 to"):
        metrics.pass_at(len(passed) + 1, [1], len(passed))


def test_the_bootstrap_covers_what_it_should() -> None:
    """Of 200 samples of a known mean, about 95% of the intervals hold it (within 4 standard errors of simulation)."""
    generator = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        said = metrics.mean(generator.choice([-1.0, 0.0, 1.0], p=[0.2, 0.5, 0.3], size=200).tolist(), seed=trial)
        held += said.low <= 0.1 <= said.high
    assert held / 200 >= 0.95 - 4 * (0.05 * 0.95 / 200) ** 0.5 - 0.01


def test_paired_differences_pair() -> None:
    said = metrics.paired_difference([1, 1, 0, 1], [0, 1, 0, 0])
    assert (said.value, said.n) == (0.5, 4)
    assert metrics.paired_difference([1] * 5, [0] * 5).low == 0.0, "five that all change may be chance"
    assert metrics.paired_difference([1] * 6, [0] * 6).low == 1.0
    assert metrics.paired_difference([0], [1]) == metrics.Interval(-1.0, -1.0, 0.0, 1)
    assert metrics.paired_difference([1, 0], [1, 0]) == metrics.Interval(0.0, 0.0, 0.0, 2)
    with pytest.raises(ValueError, match="same prompts"):
        metrics.paired_difference([1], [1, 0])


def test_distinct() -> None:
    assert metrics.distinct(1, [["a", "b", "a"], ["a"]]) == 0.5
    assert metrics.distinct(2, [["a", "b", "a"], ["a"]]) == 1.0
    assert metrics.distinct(2, [["a"]]) == 0.0


@pytest.mark.parametrize(
    ("n", "texts", "value"),
    [
        (1, ["我们今天开门", "我们明天开门"], 7 / 12),
        (2, ["我们今天开门", "我们明天开门"], 7 / 10),
        (1, ["はい、はい。"], 1 / 2),
        (2, ["カフェ", "カフェ"], 1 / 2),
        (1, ["４時", "4時"], 1 / 2),
    ],
)
def test_distinct_reads_scripts_without_spaces_by_their_characters(n: int, texts: list[str], value: float) -> None:
    assert metrics.distinct(n, [words(normalise(text)) for text in texts]) == pytest.approx(value)


SAID = [["we", "open", "at", "nine", "today"], ["three", "rooms"], ["no"], ["a", "b", "c", "d"]]


@pytest.mark.parametrize("text", [*SAID, list("我们今天开门")])
@pytest.mark.parametrize("count", [2, 5])
def test_of_the_same_text_self_bleu_and_vendi_are_1(text: list[str], count: int) -> None:
    assert metrics.self_bleu([text] * count) == pytest.approx(1.0)
    assert metrics.vendi(metrics.gram_kernel([text] * count)) == pytest.approx(1.0)


def test_of_texts_with_nothing_in_common_self_bleu_is_0_and_vendi_their_number() -> None:
    assert metrics.self_bleu(SAID) == 0.0
    assert metrics.vendi(metrics.gram_kernel(SAID)) == pytest.approx(len(SAID))


@pytest.mark.parametrize(("groups", "size"), [(1, 4), (2, 3), (4, 2)])
def test_of_equal_groups_vendi_is_their_number(groups: int, size: int) -> None:
    assert metrics.vendi(metrics.gram_kernel(SAID[:groups] * size)) == pytest.approx(groups)


def test_vendi_of_two_texts_by_hand() -> None:
    cosine = 0.5
    p = [(1 + cosine) / 2, (1 - cosine) / 2]
    expected = float(np.exp(-sum(x * np.log(x) for x in p)))
    assert metrics.vendi(np.array([[1, cosine], [cosine, 1]])) == pytest.approx(expected)
    assert metrics.gram_kernel([["a", "b"], ["a", "c"]], n=1)[0, 1] == pytest.approx(0.5)
    assert metrics.gram_kernel([["a", "b"], ["a", "c"]], n=2)[0, 1] == pytest.approx(1 / 3)


@pytest.mark.parametrize("kernel", [[[1, 0]], [[1, 0.5], [0.4, 1]], [[1, 0], [0, 0.5]]])
def test_what_is_no_kernel_is_refused(kernel: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="kernel"):
        metrics.vendi(np.array(kernel))


def test_diversity_of_nothing() -> None:
    assert metrics.vendi(metrics.gram_kernel([])) == 0.0
    assert metrics.self_bleu([]) is None
    assert metrics.self_bleu([["a"]]) is None
    assert metrics.self_bleu([["a"], []]) is None, "a text without words says nothing"
    assert metrics.vendi(metrics.gram_kernel([[], []])) == pytest.approx(1.0)


def test_self_bleu_by_hand() -> None:
    # Of 'a a b' one 'a' is clipped: 2/3. Its pairs 'aa', 'ab': one of two matches, with one added 2/3.
    first = (2 / 3 * 2 / 3) ** 0.5
    # Of 'a b' all matches, with one added 2/2; it is shorter than its reference.
    second = float(np.exp(1 - 3 / 2))
    assert metrics.self_bleu([["a", "a", "b"], ["a", "b"]], n=2) == pytest.approx((first + second) / 2)


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=6), min_size=2, max_size=6))
def test_diversity_keeps_to_its_bounds_in_any_order(texts: list[list[str]]) -> None:
    kernel = metrics.gram_kernel(texts)
    assert 1 - 1e-9 <= metrics.vendi(kernel) <= len(texts) + 1e-9
    bleu, turned = metrics.self_bleu(texts), metrics.self_bleu(texts[::-1])
    assert (bleu is None) == (sum(map(bool, texts)) < 2)
    if bleu is not None:
        assert 0 <= bleu <= 1 + 1e-9
        assert turned == pytest.approx(bleu)


@pytest.mark.parametrize(
    ("positives", "negatives", "value"),
    [
        ([2, 3], [0, 1], 1.0),
        ([0, 1], [2, 3], 0.0),
        ([1, 1], [1, 1, 1], 0.5),
        ([1, 3], [0, 2], 3 / 4),
        ([1, 2], [1], 3 / 4),
        ([1], [], None),
        ([], [1], None),
    ],
)
def test_auc_counts_pairs(positives: list[float], negatives: list[float], value: float | None) -> None:
    assert metrics.auc(positives, negatives) == value


def test_auc_of_a_shifted_sample() -> None:
    # k of n values moved above all others: these win every pair, the rest tie with themselves and win half the others.
    n, k = 40, 10
    assert metrics.auc([*range(n - k), *range(100, 100 + k)], list(range(n))) == pytest.approx(
        (k * n + (n - k) ** 2 / 2) / n**2
    )


def test_a_paired_auc_has_an_interval_over_prompts() -> None:
    said = metrics.paired_auc([2.0, 3.0, 2.5], [0.0, 1.0, 0.5])
    assert said == metrics.Interval(1.0, 1.0, 1.0, 3)
    generator = np.random.default_rng(1)
    negatives = generator.normal(size=150)
    held = metrics.paired_auc((negatives + 1).tolist(), negatives.tolist())
    assert held.value == metrics.auc((negatives + 1).tolist(), negatives.tolist())
    assert held.low < held.value < held.high
    assert held.high - held.low < 0.1, "the prompts are resampled with both of their values"
    assert held == metrics.paired_auc((negatives + 1).tolist(), negatives.tolist())
    assert metrics.paired_auc([], []) == metrics.Interval(0.5, 0.0, 1.0, 0)
    with pytest.raises(ValueError, match="same prompts"):
        metrics.paired_auc([1], [1, 0])


PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=20)


@given(PAIRS)
def test_spearman_is_scipys(pairs: list[tuple[int, int]]) -> None:
    xs, ys = [float(x) for x, _ in pairs], [float(y) for _, y in pairs]
    said = metrics.spearman(xs, ys)
    if len(set(xs)) < 2 or len(set(ys)) < 2:
        assert said is None
    else:
        assert said == pytest.approx(spearmanr(xs, ys).statistic)


def test_spearman_of_known_orders() -> None:
    assert metrics.spearman([1, 2, 3], [1, 8, 27]) == pytest.approx(1.0)
    assert metrics.spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert metrics.spearman([1, 1, 1], [3, 2, 1]) is None
    assert metrics.spearman([1], [3]) is None
    with pytest.raises(ValueError, match="pairs"):
        metrics.spearman([1], [])


def test_kappa_is_agreement_beyond_chance() -> None:
    # Cohen's measure of 50 cases, 20 and 15 of which both call yes and no: (0.7 − 0.5) / 0.5
    ours = [True] * 25 + [False] * 25
    theirs = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    assert metrics.kappa(ours, theirs) == pytest.approx(0.4)
    assert metrics.kappa(ours, ours) == 1
    assert metrics.kappa(ours, [not one for one in ours]) == -1
    assert metrics.kappa([], []) is None
    assert metrics.kappa([True] * 3, [True] * 3) is None, "chance alone would agree"
    with pytest.raises(ValueError, match="same cases"):
        metrics.kappa([True], [])
