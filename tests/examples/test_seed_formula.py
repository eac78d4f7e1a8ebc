"""The seed formula on toy policies: closed forms, and the plot that is shipped is what the script writes."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def seed() -> Any:
    spec = importlib.util.spec_from_file_location("seed_formula", ROOT / "examples/seed_formula.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_corrected_sign_makes_accepted_replies_likelier_and_the_printed_one_does_not(seed: Any) -> None:
    plus, minus = (seed.after_steps(sign, 2000, 5.0) for sign in (+1, -1))
    assert all(after > before for before, after in itertools.pairwise(plus))
    assert all(after < before for before, after in itertools.pairwise(minus))
    assert plus[-1] > 0.999
    assert minus[-1] < 0.01


def test_the_step_is_the_gradient_of_the_log_likelihood_of_what_is_accepted(seed: Any) -> None:
    def likelihood(logits: Any) -> float:
        log_policy = logits - np.log(np.exp(logits).sum())
        return float((seed.START * (seed.VALUES > seed.LINE) * log_policy).sum())

    logits = np.log(seed.START)
    shares = seed.after_steps(+1, 1, 1e-4)
    eps = 1e-6
    gradient = np.array([(likelihood(logits + eps * e) - likelihood(logits - eps * e)) / (2 * eps) for e in np.eye(50)])
    moved = np.exp(logits + 1e-4 * gradient)
    assert shares[1] == pytest.approx(moved[seed.VALUES > seed.LINE].sum() / moved.sum(), abs=1e-10)


def test_laws_of_the_rules_have_their_closed_forms(seed: Any) -> None:
    policy = np.random.default_rng(0).dirichlet(np.ones(seed.REPLIES))
    for line in (0.3, 0.8):
        accepts = line < seed.VALUES
        law, share = seed.threshold(policy, accepts), float(policy[accepts].sum())
        assert seed.divergence(law, policy) == pytest.approx(-math.log(share))
        assert seed.threshold(law, accepts) == pytest.approx(law), "once is as good as twice"
    for n in (2, 3, 8):
        law = seed.best_of(policy, n)
        assert law.sum() == pytest.approx(1)
        assert seed.divergence(law, policy) <= math.log(n) - (n - 1) / n + 1e-12
        assert seed.best_of(law, 3) == pytest.approx(seed.best_of(policy, 3 * n))
    for beta in (0.1, 1.0):
        law, z = seed.tilted(policy, beta), float((policy * np.exp(seed.VALUES / beta)).sum())
        assert law == pytest.approx(policy * np.exp(seed.VALUES / beta) / z)
        assert seed.divergence(law, policy) == pytest.approx(float(seed.VALUES @ law) / beta - math.log(z))
        twice = seed.threshold(law, np.exp((seed.VALUES - seed.VALUES.max()) / beta))
        assert twice == pytest.approx(seed.tilted(policy, beta / 2))


def test_of_all_laws_at_one_distance_the_tilted_one_is_worth_most(seed: Any) -> None:
    rules = seed.numbers()["rules"]
    best_x, best_y = rules["statistical rejection"]
    for name in ("threshold", "best of n"):
        for x, y in zip(*rules[name], strict=True):
            if min(best_x) <= x <= max(best_x):
                assert y <= np.interp(x, best_x, best_y) + 2e-3


def test_a_line_under_single_noisy_scores_prefers_what_is_lucky(seed: Any) -> None:
    value, share = seed.lucky(1, 0.1)
    assert value == 0.0, "0.05 before"
    assert share == 0.25
    assert seed.lucky(1, 0.05) == (pytest.approx(0.1 / 1.5), 0.75)
    below = [seed.lucky(calls, 0.05)[0] for calls in seed.CALLS]
    assert below == sorted(below)
    assert below[-1] > 0.098
    at = [seed.lucky(calls, 0.1) for calls in seed.CALLS]
    assert {value for value, _ in at} == {0.0}
    assert at[-1][1] < 1e-5, "there is next to nothing to learn"
    for calls in (1, 3, 9):  # by all the ways that the scores can fall
        falls = np.array(np.meshgrid(*[[-1, 1]] * calls)).reshape(calls, -1).mean(0)
        for line in (0.05, 0.1):
            passes = float((falls > line).mean())
            assert seed.lucky(calls, line)[1] == pytest.approx(((line < 0.1) + passes) / 2)


def test_what_is_sampled_is_what_is_reckoned(seed: Any) -> None:
    found = seed.simulated()
    exact = {
        "threshold": seed.threshold(seed.START, seed.VALUES > seed.LINE),
        "best of 8": seed.best_of(seed.START, 8),
        "noisy": seed.threshold(seed.START, seed.noisy(1)),
    }
    for name, law in exact.items():
        assert found[name] == pytest.approx(float(seed.VALUES @ law), abs=0.006), name
    worth = seed.numbers()["noise"]["mean of noisy scores"][1]
    assert worth == sorted(worth)
    assert worth[-1] == pytest.approx(seed.numbers()["noise"]["exact scores"][1][0], abs=0.01)


def parts(file: Path) -> tuple[dict[str, Any], list[str], list[str]]:
    """A picture's numbers, its words and its elements."""
    root = ElementTree.parse(file).getroot()
    desc = next(one for one in root.iter() if one.tag.endswith("desc"))
    words = [one.text or "" for one in root.iter() if one.tag.endswith("text")]
    return json.loads(desc.text or ""), words, [one.tag for one in root.iter()]


def test_the_shipped_plot_is_what_the_script_writes(seed: Any, tmp_path: Path) -> None:
    seed.plot(seed.numbers(), tmp_path / "made.svg")
    made, shipped = parts(tmp_path / "made.svg"), parts(ROOT / "docs/images/seed_formula.svg")
    assert made[1:] == shipped[1:], "write it anew: python examples/seed_formula.py docs/images/seed_formula.svg"
    for panel, lines in made[0].items():
        for label, (xs, ys) in lines.items():
            assert shipped[0][panel][label][0] == pytest.approx(xs, abs=1e-5)
            assert shipped[0][panel][label][1] == pytest.approx(ys, abs=1e-5)
    assert "prefers-color-scheme: dark" in (ROOT / "docs/images/seed_formula.svg").read_text(encoding="utf-8")


def test_the_script_says_what_it_found(seed: Any) -> None:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/seed_formula.py")], capture_output=True, text=True, check=True
    )
    assert re.search(r"^sign, plus: from 0\.200 to 0\.5", done.stdout, re.M)
    assert re.search(r"^luck, line 0\.1: from 0\.000 to 0\.000$", done.stdout, re.M)
