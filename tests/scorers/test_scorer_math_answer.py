"""`math_answer`: what math-verify finds equal, and what becomes of a reply that it does not come back from."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from rsft.scorers import run_scorer
from rsft.scorers.math_answer import MathAnswer
from rsft.types import Message, Prompt, Reply, Score

TURNS = (Message("user", "What is it?"),)


def reply(text: str, right: Any = "72") -> Reply:
    return Reply(Prompt("p", TURNS, TURNS, {} if right is None else {"answer": right}), text)


@pytest.fixture(scope="module")
def scorer() -> Iterator[MathAnswer]:
    return MathAnswer()


def worker_of(scorer: MathAnswer) -> psutil.Process:
    process = scorer._worker._process
    assert process is not None
    return psutil.Process(process.pid)


@pytest.mark.parametrize(
    ("text", "right", "value"),
    [
        ("The answer is 72.", "72", 1),
        ("The answer is 71.", "72", 0),
        (r"So \boxed{72}, not 71.", 72, 1),
        ("**1,299.50**", 1299.5, 1),
        (r"It costs \$72.", "72", 1),
        (r"$\frac{2}{4}$", r"\frac12", 1),
        ("0.5", "1/2", 1),
        ("$x^2+2x+1$", "$(x+1)^2$", 1),
        ("$x^2+2x$", "$(x+1)^2$", 0),
        ("$x = -5$", "-5", 1),
        ("7 or so", ["8", 7], 1),
        ("答案是72。", "72", 1),
        ("答えは７２です", "72", 1),
        ("答案是71元。", "72", 0),
    ],
)
def test_right_and_wrong(scorer: MathAnswer, text: str, right: Any, value: int) -> None:
    (said,) = run_scorer(scorer, [reply(text, right)])
    assert said.value == value, said
    assert said.explanation


def test_no_answer_scores_nothing_and_no_right_answer_fails(scorer: MathAnswer) -> None:
    assert run_scorer(scorer, [reply("No idea."), reply("")]) == [Score(0.0, "no answer")] * 2
    missing, unreadable = run_scorer(scorer, [reply("72", None), reply("72", " ")])
    assert "is missing" in str(missing.failure)
    assert "can't read the right answer ' '" in str(unreadable.failure)


@pytest.mark.parametrize("endless", [r"\boxed{9^{9^{9^{9}}}}", "$(10!)!$"])
def test_a_reply_that_takes_for_ever_is_failed_and_its_neighbours_are_not(endless: str) -> None:
    scorer = MathAnswer(seconds=1)
    before, slow, after = run_scorer(scorer, [reply("72"), reply(endless), reply("72")])
    assert slow == Score.failed("took more than 1 s")
    assert before.value == after.value == 1


def test_a_worker_that_dies_is_replaced(scorer: MathAnswer) -> None:
    run_scorer(scorer, [reply("72")])
    killed = scorer._worker._process
    assert killed is not None
    killed.kill()
    killed.wait()
    assert run_scorer(scorer, [reply("72")])[0].value == 1, "one that died of itself costs nobody a score"
    process = worker_of(scorer)
    process.suspend()
    killer = threading.Timer(0.2, process.kill)
    killer.start()
    (said,) = run_scorer(scorer, [reply("72")])
    assert said == Score.failed(f"the process that compares it died (exit code {-signal.SIGKILL})")
    killer.join()
    assert run_scorer(scorer, [reply("72")])[0].value == 1


def test_one_worker_is_started_when_it_is_first_needed_and_ends_with_its_scorer() -> None:
    scorer = MathAnswer()
    scorer.prepare()
    run_scorer(scorer, [reply("72", None)])
    assert scorer._worker._process is None
    run_scorer(scorer, [reply("72")])
    process = worker_of(scorer)
    run_scorer(scorer, [reply("73"), reply("74")])
    assert worker_of(scorer) == process
    del scorer
    assert not process.is_running()


def test_a_worker_ends_with_its_parent(ends_with_its_parent: Callable[[str], None]) -> None:
    code = (
        "from test_scorer_math_answer import *; import os; s = MathAnswer(); run_scorer(s, [reply('72')]);"
        "print(worker_of(s).pid, flush=True); os.kill(os.getpid(), 9)"
    )
    ends_with_its_parent(code)


def test_it_works_in_any_thread(scorer: MathAnswer) -> None:
    said: list[Score] = []
    threads = [threading.Thread(target=lambda: said.extend(run_scorer(scorer, [reply("72")] * 5))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.value for one in said] == [1.0] * 15
