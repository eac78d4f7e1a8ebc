"""The seed formula of rejection sampling fine-tuning on toy policies, where everything can be reckoned exactly.

    python examples/seed_formula.py [PLOT.svg]

A policy f is a softmax over replies y with values r(y). One step samples replies, accepts those with a score above the
line, g(y) > t, and *ascends* the log-likelihood of what was accepted:

    θ ← θ + α ∇ Σ log f(y|θ) · 1[g(y) > t]

The formula is often printed with a minus sign: that unlearns what was accepted. It makes accepted replies likelier, and
accepted is not the same as good: where scores are noisy, a line under single scores prefers what is lucky.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom, norm

REPLIES, LINE, NOISE = 50, 0.8, 0.5
CALLS = [3**power for power in range(8)]  # odd, so that half of the lucky reply's means are above 0
VALUES = (np.arange(REPLIES) + 0.5) / REPLIES
"""What the replies are worth: 0.01 to 0.99."""
START = np.full(REPLIES, 1 / REPLIES)
"""The policy before the first step."""


def after_steps(sign: int, steps: int = 60, rate: float = 1.0) -> list[float]:
    """The share that is accepted before and after each step, by the expected gradient: for a softmax over logits θ it
    is p(y)·1[g > t] − p_acc·p(y)."""
    logits, accepted = np.log(START), VALUES > LINE
    shares = []
    for _ in range(steps + 1):
        policy = np.exp(logits - logits.max())
        policy /= policy.sum()
        shares.append(float(policy[accepted].sum()))
        logits = logits + sign * rate * (policy * accepted - shares[-1] * policy)
    return shares


def threshold(policy: Any, accepts: Any) -> Any:
    """The law of what is accepted, where a reply is accepted with probability `accepts`: p·a / p_acc."""
    return policy * accepts / (policy * accepts).sum()


def best_of(policy: Any, n: int) -> Any:
    """The law of the best of n: F(y)ⁿ − F⁻(y)ⁿ, F being the distribution of values."""
    below = np.concatenate([[0.0], np.cumsum(policy)])
    return below[1:] ** n - below[:-1] ** n


def tilted(policy: Any, beta: float) -> Any:
    """The law of statistical rejection, which accepts with probability exp((r − r_max)/β): p·exp(r/β) / Z."""
    return threshold(policy, np.exp((VALUES - VALUES.max()) / beta))


def divergence(law: Any, policy: Any) -> float:
    """KL(law ‖ policy) in nats."""
    there = law > 0
    return float((law[there] * np.log(law[there] / policy[there])).sum())


def noisy(calls: int) -> Any:
    """How likely each reply's score passes the line, if it is the mean of so many calls with Gaussian noise."""
    return norm.sf(LINE, loc=VALUES, scale=NOISE / math.sqrt(calls))


def lucky(calls: int, line: float) -> tuple[float, float]:
    """The counterexample: a₁ always scores 0.1, a₂ scores ±1 with equal odds, so that it is worth 0, and they are
    equally likely. The value of what is accepted by the mean of so many scores, and the share that is.

    Below 0.1, a line gets better with every score that is averaged. At 0.1 only a₂ passes: 0.05 becomes 0, and
    averaging can do no more than accept less and less of it."""
    least = math.floor(calls * (1 + line) / 2) + 1  # heads at which the mean is above the line
    accepts = np.array([float(line < 0.1), float(binom.sf(least - 1, calls, 0.5))])
    share = float(accepts.mean())
    return float((np.array([0.1, 0.0]) * accepts).sum() / accepts.sum()), share


def simulated(draws: int = 200_000, seed: int = 0) -> dict[str, float]:
    """The same by sampling: the value of what a line, the best of 8, and single noisy scores accept."""
    random = np.random.default_rng(seed)
    replies = random.choice(REPLIES, p=START, size=(draws, 8))
    first = VALUES[replies[:, 0]]
    scores = first + NOISE * random.normal(size=draws)
    return {
        "threshold": float(first[first > LINE].mean()),
        "best of 8": float(VALUES[replies].max(axis=1).mean()),
        "noisy": float(first[scores > LINE].mean()),
    }


def numbers() -> dict[str, Any]:
    """All that the plot shows: for each panel its lines, each with its xs and ys."""
    rules = {
        "threshold": [threshold(START, line < VALUES) for line in np.linspace(0, 0.98, 50)],
        "best of n": [best_of(START, n) for n in range(1, 51)],
        "statistical rejection": [tilted(START, beta) for beta in np.geomspace(10, 0.01, 50)],
    }
    exact = VALUES @ threshold(START, VALUES > LINE)
    calls, steps = len(CALLS), list(range(61))
    said: dict[str, Any] = {
        "sign": {"plus": (steps, after_steps(+1)), "minus, as often printed": (steps, after_steps(-1))},
        "rules": {n: ([divergence(p, START) for p in laws], [VALUES @ p for p in laws]) for n, laws in rules.items()},
        "noise": {
            "mean of noisy scores": (CALLS, [VALUES @ threshold(START, noisy(k)) for k in CALLS]),
            "exact scores": (CALLS, [exact] * calls),
        },
        "luck": {f"line {line}": (CALLS, [lucky(k, line)[0] for k in CALLS]) for line in (0.05, 0.1)}
        | {"before": (CALLS, [0.05] * calls)},
    }
    return {
        panel: {label: [[round(float(v), 6) for v in axis] for axis in line] for label, line in lines.items()}
        for panel, lines in said.items()
    }


PANELS = {
    "sign": ("The sign: share accepted", "step", "linear"),
    "rules": ("Value of what each rule accepts", "KL from the policy, nats", "linear"),
    "noise": ("Value accepted by noisy scores", "scores averaged", "log"),
    "luck": ("Value accepted: 0.1 for certain, or ±1", "scores averaged", "log"),
}
# A viewer's dark mode turns ink and paper round; the lines can be told apart on both.
DARK = """<style>@media (prefers-color-scheme: dark) {
[style*="fill: #ffffff"] {fill: #16191d !important} text {fill: #e6e6e6 !important}
[style*="stroke: #333333"] {stroke: #c8c8c8 !important} [style*="fill: #333333"] {fill: #e6e6e6 !important}
}</style>"""


def plot(said: dict[str, Any], file: Path) -> None:
    """Write the SVG. Its description holds the numbers, so that it can be checked against them."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    ink = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), "#333333")
    with mpl.rc_context({"svg.hashsalt": "seed", "svg.fonttype": "none", "font.size": 10, "figure.dpi": 72, **ink}):
        figure = Figure(figsize=(9, 6.6))
        for axes, (name, (title, xlabel, scale)) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
            for (label, (xs, ys)), colour, dash in zip(
                said[name].items(), ("#0072b2", "#d55e00", "#009e73"), ("-", "--", ":"), strict=False
            ):
                axes.plot(xs, ys, dash, color=colour, linewidth=2, label=label)
            axes.set(title=title, xlabel=xlabel, xscale=scale)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=9, loc=(0.5, 0.13) if name == "luck" else "best")
        figure.subplots_adjust(0.06, 0.09, 0.98, 0.94, 0.16, 0.42)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.read_text(encoding="utf-8")
    start = text.index(">", text.index("<svg")) + 1
    shown = json.dumps(said)
    file.write_text(f"{text[:start]}\n<desc>{shown}</desc>{DARK}{text[start:]}", encoding="utf-8")


if __name__ == "__main__":
    found = numbers()
    for panel, lines in found.items():
        for label, (_, ys) in lines.items():
            print(f"{panel}, {label}: from {ys[0]:.3f} to {ys[-1]:.3f}")
    print("simulated:", ", ".join(f"{name} {value:.3f}" for name, value in simulated().items()))
    if sys.argv[1:]:
        plot(found, Path(sys.argv[1]))
