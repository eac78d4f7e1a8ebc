"""Numbers about replies, with their intervals. Pure: no I/O, no clock, and every random draw comes from a seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import comb, exp, log, sqrt
from typing import Any

import numpy as np

from rsft.text import grams
from rsft.types import Interval

_CONFIDENCE_Z = 1.959963984540054  # two-sided 95%
_RESAMPLES = 4000
_LEAST_PAIRS = 6

Matrix = np.ndarray[Any, np.dtype[np.float64]]
Words = Sequence[str]


def share(passed: Sequence[bool]) -> Interval:
    """The share that passed, with its 95% Wilson interval (Wilson 1927). Of nothing: 0, from 0 to 1."""
    n = len(passed)
    if n == 0:
        return Interval(0.0, 0.0, 1.0, 0)
    p, z2 = sum(passed) / n, _CONFIDENCE_Z**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _CONFIDENCE_Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Interval(p, max(0.0, centre - half), min(1.0, centre + half), n)


def mean(values: Sequence[float], seed: int = 0) -> Interval:
    """The mean over prompts, with its 95% percentile bootstrap interval (prompts are resampled)."""
    if not values:
        return Interval(0.0, 0.0, 0.0, 0)
    values_P = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    # Resampling by counts: a row of `picks` says how often each prompt was drawn.
    picks_BP = generator.multinomial(len(values_P), np.full(len(values_P), 1 / len(values_P)), size=_RESAMPLES)
    means_B = picks_BP @ values_P / len(values_P)
    low, high = np.quantile(means_B, [0.025, 0.975])
    return Interval(float(values_P.mean()), float(low), float(high), len(values_P))


def paired_difference(after: Sequence[float], before: Sequence[float], seed: int = 0) -> Interval:
    """The mean of after − before over the same prompts in the same order, with its 95% bootstrap interval.

    Of fewer than 6 prompts the interval holds 0 in any case: not even if all of them differ to one side could a sign
    test tell that from chance (2 · 2⁻⁵ > 0.05), and resampling a few equal values says that there is no doubt at all.
    """
    if len(after) != len(before):
        raise ValueError(f"paired values must be of the same prompts; got {len(after)} and {len(before)}")
    found = mean([a - b for a, b in zip(after, before, strict=True)], seed)
    return found if found.n >= _LEAST_PAIRS else replace(found, low=min(found.low, 0.0), high=max(found.high, 0.0))


def mcnemar(lost: int, won: int) -> float:
    """The chance that, were both equally good, the prompts that only one of two passes divide so unequally, or more:
    the exact two-sided test of McNemar (Psychometrika 12, 1947), which is a binomial one. 1 where there are none."""
    from scipy.stats import binomtest

    return float(binomtest(won, lost + won).pvalue) if lost + won else 1.0


def win_rate(wins: int, losses: int, ties: int = 0) -> Interval:
    """The share of pairs that are won, a tie counting as half a win, with its 95% interval.

    It is 1/2 + Δ/2, with the difference Δ between the shares of pairs won and lost, and so is its interval, of Tango's
    score interval for Δ (Statistics in Medicine 17, 1998): each Δ with (w − l − nΔ)² ≤ z² n (2q + Δ(1 − Δ)), where
    q is the likeliest share of lost pairs under that Δ. Without ties it is Wilson's; it has a width also where all
    pairs are won, or all are ties, and swapping the sides mirrors it. Of nothing: 0.5, from 0 to 1.
    """
    n = wins + losses + ties
    if n == 0:
        return Interval(0.5, 0.0, 1.0, 0)
    low, high = _least_difference(wins, losses, n), -_least_difference(losses, wins, n)
    return Interval((1 + (wins - losses) / n) / 2, (1 + low) / 2, (1 + high) / 2, n)


def _least_difference(wins: int, losses: int, n: int) -> float:
    """The lower end of Tango's interval, by bisection between −1 and what was found."""
    outside, inside = -1.0, (wins - losses) / n
    for _ in range(60):
        delta = (outside + inside) / 2
        b, c = (2 * n - wins + losses) * delta - wins - losses, -losses * delta * (1 - delta)
        q = (sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        if (wins - losses - n * delta) ** 2 > _CONFIDENCE_Z**2 * n * (2 * q + delta * (1 - delta)):
            outside = delta
        else:
            inside = delta
    return inside


def crossed_mean(values_SP: Sequence[Sequence[float]] | Matrix) -> Interval:
    """The grand mean of S seeds × P prompts, with a 95% interval that is right for other seeds and other prompts.

    Two-way random effects without replication: the mean's variance is σ²(prompts)/P + σ²(seeds)/S + σ²(rest)/SP, which
    (MS_prompts + MS_seeds − MS_rest) / SP estimates without bias. Where one of the two effects comes out negative, it
    is taken for none, and the other's mean square stands alone. The t-quantile has the degrees of freedom of
    Satterthwaite (Biometrics Bulletin 2, 1946): (Σ MSᵢ)² / Σ (MSᵢ² / fᵢ), signs kept in the first sum. Of one
    seed it is `mean`, over prompts; of one prompt, the t-interval over seeds. `n` counts prompts.
    """
    table_SP = np.asarray(values_SP, dtype=np.float64)
    if table_SP.ndim != 2 or not table_SP.size:
        raise ValueError(f"a table of seeds × prompts is wanted; got the shape {table_SP.shape}")
    seeds, prompts = table_SP.shape
    if seeds == 1:
        return mean(table_SP[0].tolist())
    value = float(table_SP.mean())
    of_seeds_S, of_prompts_P = table_SP.mean(axis=1), table_SP.mean(axis=0)
    rest_SP = table_SP - of_seeds_S[:, None] - of_prompts_P + value
    by_seeds = prompts * float(((of_seeds_S - value) ** 2).sum()) / (seeds - 1)
    by_prompts = seeds * float(((of_prompts_P - value) ** 2).sum()) / max(1, prompts - 1)
    by_rest = float((rest_SP**2).sum()) / max(1, (seeds - 1) * (prompts - 1))
    squares = {"seeds": (by_seeds, seeds - 1), "prompts": (by_prompts, prompts - 1)}
    if min(by_seeds, by_prompts) > by_rest:
        terms = [*squares.values(), (-by_rest, (seeds - 1) * (prompts - 1))]
    else:
        terms = [max(squares.values())]
    half = _half_width(terms) / sqrt(table_SP.size)
    return Interval(value, value - half, value + half, prompts)


def _half_width(terms: Sequence[tuple[float, int]]) -> float:
    """Half a 95% interval of variance Σ MSᵢ: its root times the t-quantile with Satterthwaite's degrees of freedom.

    `terms` holds each mean square, with its sign, and its own degrees of freedom.
    """
    from scipy.stats import t

    variance = sum(square for square, _ in terms)
    if variance <= 0:
        return 0.0
    degrees = 1 / sum((square / variance) ** 2 / freedom for square, freedom in terms if square)
    return float(t.ppf(0.975, degrees)) * sqrt(variance)


def pass_at(k: int, passed: Sequence[int], drawn: int) -> float:
    """The chance that at least one of k replies passes, averaged over prompts: 1 − C(n−c, k) / C(n, k).

    `passed` holds c for each prompt, of `drawn` = n replies each (the unbiased estimate of 2107.03374). Needs k ≤ n.
    """
    if not 1 <= k <= drawn:
        raise ValueError(f"pass@{k} needs 1 to {drawn} replies drawn for each prompt")
    if not passed:
        return 0.0
    return sum(1 - comb(drawn - c, k) / comb(drawn, k) for c in passed) / len(passed)


def expected_best(n: int, scores: Sequence[float]) -> float:
    """The mean score of the best of n replies, estimated from M ≥ n scored ones without bias, as over all ways to take
    n of them: Σᵢ r₍ᵢ₎ · C(i−1, n−1) / C(M, n), where r₍ᵢ₎ is the i-th smallest."""
    if not 1 <= n <= len(scores):
        raise ValueError(f"the best of {n} needs at least {n} scores; there are {len(scores)}")
    ways = comb(len(scores), n)
    return sum(score * comb(place, n - 1) / ways for place, score in enumerate(sorted(scores)))


def distinct(n: int, texts: Sequence[Words]) -> float:
    """Distinct n-grams over all n-grams of the tokenised texts (distinct-n, 1510.03055); 0 where there is none."""
    found = [gram for words in texts for gram in grams(words, n)]
    return len(set(found)) / len(found) if found else 0.0


def self_bleu(texts: Sequence[Words], n: int = 4) -> float | None:
    """How alike the tokenised texts are: the mean BLEU of each with all others as references (Texygen, 1802.01886).

    From 0 (no word in common) to 1 (all the same). BLEU's orders run to n, or to the length of a shorter text, and have
    the same weight; above the first, one is added to matches and totals (Lin and Och 2004), so that a short text that
    shares words is not taken for one that shares none. Texts without words are left out; None for fewer than two.
    """
    texts = [words for words in texts if words]
    if len(texts) < 2:
        return None
    lengths = Counter(len(words) for words in texts)
    precisions_TO = np.zeros((len(texts), n))
    for order in range(1, n + 1):
        counts = [Counter(grams(words, order)) for words in texts]
        most = _two_greatest(counts)
        for place, own in enumerate(counts):
            # The most that any other text has: where this one has the most, the second.
            matches = sum(
                min(count, most[gram][1] if most[gram][0] == count else most[gram][0]) for gram, count in own.items()
            )
            added = int(order > 1)
            precisions_TO[place, order - 1] = (matches + added) / (sum(own.values()) + added) if own else np.nan
    scores = []
    for words, precisions in zip(texts, precisions_TO, strict=True):
        known = precisions[: min(n, len(words))]
        bleu = exp(sum(map(log, known)) / len(known)) if known[0] > 0 else 0.0
        scores.append(bleu * _brevity_penalty(len(words), lengths))
    return float(np.mean(scores))


def _two_greatest(counts: Sequence[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], tuple[int, int]]:
    """For each n-gram the greatest of its counts in one text, and the second greatest in another."""
    most: dict[tuple[str, ...], tuple[int, int]] = {}
    for own in counts:
        for gram, count in own.items():
            first, second = most.get(gram, (0, 0))
            most[gram] = (count, first) if count > first else (first, max(count, second))
    return most


def _brevity_penalty(length: int, lengths: Counter[int]) -> float:
    """BLEU's, by the length of a reference that is nearest, the shorter one of two."""
    others = [other for other, count in lengths.items() if count > (other == length)]
    nearest = min(others, key=lambda other: (abs(other - length), other))
    return exp(min(0.0, 1 - nearest / length))


def vendi(kernel_NN: Matrix) -> float:
    """How many different texts there are, in effect (Vendi score, 2210.02410): exp of the entropy of K/N's eigenvalues.

    K holds the similarities of N texts, positive semidefinite with ones on its diagonal. From 1 (all the same) to N
    (nothing in common); 0 of no text.
    """
    kernel_NN = np.asarray(kernel_NN, dtype=np.float64)
    if kernel_NN.ndim != 2 or kernel_NN.shape[0] != kernel_NN.shape[1]:
        raise ValueError(f"a kernel is square; got {kernel_NN.shape}")
    if not len(kernel_NN):
        return 0.0
    if not np.allclose(np.diag(kernel_NN), 1) or not np.allclose(kernel_NN, kernel_NN.T):
        raise ValueError("a kernel is symmetric, with ones on its diagonal")
    eigenvalues = np.linalg.eigvalsh(kernel_NN / len(kernel_NN))
    positive = eigenvalues[eigenvalues > 1e-12]
    return float(np.exp(-(positive * np.log(positive)).sum()))


def gram_kernel(texts: Sequence[Words], n: int = 2) -> Matrix:
    """The cosine of each two tokenised texts' counts of n-grams, of all lengths up to n: a kernel for `vendi`.

    Texts without words are alike among themselves, and unlike all others.
    """
    from scipy.sparse import csr_matrix

    columns: dict[tuple[str, ...], int] = {}
    data, rows, places = [], [], []
    for row, words in enumerate(texts):
        counts = Counter(gram for order in range(1, n + 1) for gram in grams(words, order)) or Counter([("",)])
        norm = sqrt(sum(count * count for count in counts.values()))
        for gram, count in counts.items():
            data.append(count / norm)
            rows.append(row)
            places.append(columns.setdefault(gram, len(columns)))
    if not texts:
        return np.zeros((0, 0))
    counts_NG = csr_matrix((data, (rows, places)), shape=(len(texts), len(columns)))
    kernel_NN: Matrix = (counts_NG @ counts_NG.T).toarray()
    return kernel_NN


def auc(positives: Sequence[float], negatives: Sequence[float]) -> float | None:
    """The chance that a positive's value is above a negative's, ties half (Mann–Whitney). None without one of each."""
    if not len(positives) or not len(negatives):
        return None
    ordered = np.sort(np.asarray(negatives, dtype=np.float64))
    below = np.searchsorted(ordered, positives, "left") + np.searchsorted(ordered, positives, "right")
    return float(below.mean() / 2 / len(ordered))


def kappa(ours: Sequence[bool], theirs: Sequence[bool]) -> float | None:
    """How far two agree on yes and no beyond chance, from −1 to 1: (a − c) / (1 − c), with the share a on which they
    agree and the share c on which they would if neither knew anything (Cohen 1960). None of nothing, or if c is 1."""
    if len(ours) != len(theirs):
        raise ValueError(f"words on the same cases are wanted; got {len(ours)} and {len(theirs)}")
    n = len(ours)
    if not n:
        return None
    agreed = sum(a == b for a, b in zip(ours, theirs, strict=True)) / n
    yes, other = sum(ours) / n, sum(theirs) / n
    chance = yes * other + (1 - yes) * (1 - other)
    return None if chance == 1 else (agreed - chance) / (1 - chance)


def paired_auc(positives: Sequence[float], negatives: Sequence[float], seed: int = 0) -> Interval:
    """The AUC of values that are paired, one of each for a prompt, with its 95% percentile bootstrap interval.

    Prompts are resampled, with both of their values. Of nothing: 0.5, from 0 to 1.
    """
    if len(positives) != len(negatives):
        raise ValueError(f"paired values must be of the same prompts; got {len(positives)} and {len(negatives)}")
    n = len(positives)
    value = auc(positives, negatives)
    if value is None:
        return Interval(0.5, 0.0, 1.0, 0)
    levels, place = np.unique(np.asarray([*positives, *negatives], dtype=np.float64), return_inverse=True)
    generator = np.random.default_rng(seed)
    resampled_B = np.empty(_RESAMPLES)
    for trial in range(_RESAMPLES):
        times_P = np.bincount(generator.integers(n, size=n), minlength=n)
        above = np.bincount(place[:n], weights=times_P, minlength=len(levels))
        below = np.bincount(place[n:], weights=times_P, minlength=len(levels))
        resampled_B[trial] = (above * (np.cumsum(below) - below / 2)).sum() / n**2
    low, high = np.quantile(resampled_B, [0.025, 0.975])
    return Interval(value, float(low), float(high), n)


def unpaired_auc(positives: Sequence[float], negatives: Sequence[float], seed: int = 0) -> Interval:
    """The AUC of two samples with its 95% bootstrap interval: each is resampled. Of nothing: 0.5, from 0 to 1."""
    value = auc(positives, negatives)
    n = len(positives) + len(negatives)
    if value is None:
        return Interval(0.5, 0.0, 1.0, n)
    levels, place = np.unique(np.asarray([*positives, *negatives], dtype=np.float64), return_inverse=True)
    generator = np.random.default_rng(seed)
    resampled_B = np.empty(_RESAMPLES)
    for trial in range(_RESAMPLES):
        above, below = (
            np.bincount(generator.choice(side, size=len(side)), minlength=len(levels))
            for side in (place[: len(positives)], place[len(positives) :])
        )
        resampled_B[trial] = (above * (np.cumsum(below) - below / 2)).sum() / (len(positives) * len(negatives))
    low, high = np.quantile(resampled_B, [0.025, 0.975])
    return Interval(value, float(low), float(high), n)


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Spearman's rank correlation, from −1 to 1; tied values share their mean rank. None where one of the two is
    constant, or has fewer than two values.
    """
    if len(xs) != len(ys):
        raise ValueError(f"values must come in pairs; got {len(xs)} and {len(ys)}")
    if len(xs) < 2 or len(set(xs)) < 2 or len(set(ys)) < 2:
        return None
    from scipy.stats import rankdata

    return float(np.clip(np.corrcoef(rankdata(xs), rankdata(ys))[0, 1], -1.0, 1.0))
