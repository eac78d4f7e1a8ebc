"""The pictures of docs/method.md, computed from the formulas that stand beside them there.

    python -m tools.pictures docs/images

Scores are those of a policy whose replies score like a normal law with mean 0 and spread 1: nothing is measured here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom, norm

Values = np.ndarray[Any, np.dtype[np.float64]]

# Candidates of a prompt; the accepted share of a threshold that takes as many candidates for each accepted one.
DRAWN = 8
# What a recipe's `most_novel: 3` lets through.
ENOUGH = 3

WIDE, HIGH = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 64, 52
# Inside the picture, for it is shown on pages whose colours it can't know.
STYLE = """
svg { --paper: #ffffff; --ink: #1c1c1e; --muted: #5c5c63; --rule: #d9d9de;
  --a: #0b62c4; --b: #b3430b; --c: #1b7a3d; --d: #6b6b72; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #17171a; --ink: #f2f2f4; --muted: #b4b4bc; --rule: #3a3a42;
    --a: #79b3ff; --b: #ff9f6b; --c: #7fd69b; --d: #a5a5ae; } }
text { font: 14px system-ui, sans-serif; fill: var(--ink); }
.small { font-size: 12px; fill: var(--muted); }
.rule { stroke: var(--rule); }
.line { fill: none; stroke-width: 2.5; }
.a { stroke: var(--a); } .b { stroke: var(--b); stroke-dasharray: 8 4; } .c { stroke: var(--c); stroke-dasharray: 2 4; }
.d { stroke: var(--d); stroke-width: 1.5; }
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: its class in the style, what the legend calls it, and where it runs."""

    kind: str
    name: str
    x: Values
    y: Values


@dataclass(frozen=True, slots=True)
class Picture:
    """Curves over two axes. `alt` says in words what there is to see."""

    title: str
    alt: str
    across: str
    up: str
    lines: Sequence[Line]
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]

    def svg(self) -> str:
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{self.alt}">',
            f"<title>{self.title}</title><style>{STYLE}</style>",
            f'<rect width="{WIDE}" height="{HIGH}" rx="8" style="fill: var(--paper)"/>',
            *(self._tick_across(tick) for tick in self.x_ticks),
            *(self._tick_up(tick) for tick in self.y_ticks),
            f'<text class="small" x="{(LEFT + WIDE - RIGHT) / 2:g}" y="{HIGH - 12}" text-anchor="middle">'
            f"{self.across}</text>",
            f'<text class="small" x="{LEFT - 46}" y="{TOP - 10}">{self.up}</text>',
            *self._legend(),
            *(self._curve(line) for line in self.lines),
            "</svg>\n",
        ]
        return "\n".join(parts)

    def _x(self, value: Any) -> Any:
        low, high = self.x_ticks[0], self.x_ticks[-1]
        return LEFT + (np.asarray(value) - low) / (high - low) * (WIDE - LEFT - RIGHT)

    def _y(self, value: Any) -> Any:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return HIGH - BOTTOM - (np.asarray(value) - low) / (high - low) * (HIGH - TOP - BOTTOM)

    def _tick_across(self, tick: float) -> str:
        return (
            f'<text class="small" x="{self._x(tick):.1f}" y="{HIGH - BOTTOM + 18}" text-anchor="middle">{tick:g}</text>'
        )

    def _tick_up(self, tick: float) -> str:
        y = self._y(tick)
        return (
            f'<line class="rule" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="small" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )

    def _legend(self) -> list[str]:
        wide = (WIDE - 2 * RIGHT) / len(self.lines)
        return [
            f'<line class="line {line.kind}" x1="{x:.0f}" x2="{x + 26:.0f}" y1="22" y2="22"/>'
            f'<text x="{x + 32:.0f}" y="27" style="font-size: 13px">{line.name}</text>'
            for x, line in ((RIGHT + number * wide, line) for number, line in enumerate(self.lines))
        ]

    def _curve(self, line: Line) -> str:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(self._x(line.x), self._y(line.y), strict=True))
        return f'<polyline class="line {line.kind}" points="{points}"/>'


# -- what is learnt from the accepted replies ------------------------------------------------------------------------


def above(score: Values, share: float) -> Values:
    """The density of the scores over the line that this share passes: p(y) · 1[g(y) > t] / p_acc."""
    return np.where(score > norm.isf(share), norm.pdf(score) / share, 0.0)


def best_of(score: Values, n: float) -> Values:
    """The density of the best of n scores: the derivative of F(y)ⁿ."""
    return n * norm.pdf(score) * norm.cdf(score) ** (n - 1)


def tilted(score: Values, temperature: float) -> Values:
    """The density of p(y) · exp(g(y) / β) / Z, which is normal again, with mean 1/β."""
    return norm.pdf(score - 1 / temperature)


def divergence_above(share: float) -> float:
    """KL from the policy, in nats, of what passes a threshold: −log p_acc."""
    return float(-np.log(share))


def divergence_best_of(n: float) -> float:
    """The same of the best of n, for scores without ties: log n − (n − 1)/n."""
    return float(np.log(n) - (n - 1) / n)


def mean_above(share: float) -> float:
    """The mean score over the line that this share passes."""
    return float(norm.pdf(norm.isf(share)) / share)


def mean_best_of(n: float) -> float:
    """The mean of the best of n scores."""
    scores = np.linspace(-10, 10, 20_001)
    return float(np.trapezoid(scores * best_of(scores, n), scores))


def laws() -> Picture:
    """What each rule makes of the same policy: threshold and best of 8 take 8 candidates for each accepted reply, and
    statistical rejection goes as far from the policy as best of 8."""
    scores = np.linspace(-3, 4, 701)
    temperature = 1 / np.sqrt(2 * divergence_best_of(DRAWN))
    lines = [
        Line("d", "the policy", scores, norm.pdf(scores)),
        Line("a", "the best eighth", scores, above(scores, 1 / DRAWN)),
        Line("b", "best of 8", scores, best_of(scores, DRAWN)),
        Line("c", "statistical", scores, tilted(scores, temperature)),
    ]
    return Picture(
        "The law of accepted replies",
        "Densities of scores: of the policy, of what a threshold, best of 8 and statistical rejection accept of it. A "
        "threshold cuts the upper end off sharply; the other two move the whole hump to higher scores.",
        "score of a reply, in spreads of the policy's",
        "density",
        lines,
        range(-3, 5),
        (0, 0.5, 1.0, 1.5, 2.0),
    )


def price() -> Picture:
    """How much mean score each rule gains for its distance from the policy."""
    far = np.linspace(0.001, 3, 300)
    counts = np.exp(np.linspace(0, 4.1, 300))
    of_counts = np.array([divergence_best_of(n) for n in counts])
    there = of_counts <= 3
    lines = [
        Line("c", "statistical rejection", far, np.sqrt(2 * far)),
        Line("b", "best of n", of_counts[there], np.array([mean_best_of(n) for n in counts[there]])),
        Line("a", "threshold", far, np.array([mean_above(float(np.exp(-d))) for d in far])),
    ]
    return Picture(
        "What is gained for the distance",
        "Mean score of what is accepted against its KL divergence from the policy. Statistical rejection gains most "
        "for each distance, best of n nearly as much, a threshold less.",
        "KL from the policy, nats",
        "mean score",
        lines,
        (0, 0.5, 1, 1.5, 2, 2.5, 3),
        (0, 0.5, 1, 1.5, 2, 2.5),
    )


# -- how much a prompt counts ----------------------------------------------------------------------------------------


def accepted_of(rate: Values, most: int) -> Values:
    """How many replies of a prompt are accepted on average, of DRAWN candidates, at most so many."""
    counts = np.arange(DRAWN + 1)
    return np.array([float(np.minimum(counts, most) @ binom.pmf(counts, DRAWN, p)) for p in rate])


def takes_part(rate: Values) -> Values:
    """How likely a prompt has an accepted reply at all: 1 − (1 − p)ᴺ."""
    return 1 - (1 - rate) ** DRAWN


def prompts() -> Picture:
    """How much a prompt weighs in training, by how often its candidates are accepted."""
    rate = np.linspace(0, 1, 201)
    lines = [
        Line("a", "all accepted", rate, accepted_of(rate, DRAWN)),
        Line("b", "at most 3 of each", rate, accepted_of(rate, ENOUGH)),
        Line("c", "each prompt alike", rate, takes_part(rate)),
    ]
    return Picture(
        "How much a prompt counts",
        "The weight of a prompt in training against its acceptance rate, for 8 candidates. All accepted replies: it "
        "grows in proportion. At most 3 of each: it levels off at 3. Each prompt alike: it levels off at 1.",
        "share of a prompt's candidates that is accepted",
        "weight in training, replies",
        lines,
        (0, 0.25, 0.5, 0.75, 1),
        (0, 2, 4, 6, 8),
    )


PICTURES: dict[str, Callable[[], Picture]] = {"method-laws": laws, "method-price": price, "method-prompts": prompts}


def write(folder: Path) -> None:
    """All of them, as SVG."""
    for name, picture in PICTURES.items():
        (folder / f"{name}.svg").write_text(picture().svg(), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the pictures of docs/method.md.")
    parser.add_argument("folder", type=Path, help="where they go: docs/images")
    write(parser.parse_args().folder)
