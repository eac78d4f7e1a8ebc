"""What every scorer keeps to, and what becomes of one that doesn't: a failed score, never a 0, and nobody else's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from judges import FakeJudge
from rsft.errors import RecipeError
from rsft.registry import SCORERS, load
from rsft.scorers import Scorer, build_scorers, run_scorer
from rsft.scorers.code_tests import CodeTests
from rsft.scorers.model import ModelScorer
from rsft.scorers.processes.sandbox import why_not
from rsft.types import Message, Prompt, Reply, Score

TURNS = (Message("user", "When do you open?"),)
FIELDS = {
    "reference": "It opens at nine.",
    "facts": {"opening time": "9 am"},
    "answer": "9",
    "tests": "assert opens() == 9",
}
TEXTS = ["We open at 9 am.", "", "No idea.", "我们早上九点开门", "a\nb", "\x00\ud83d", "x" * 5000]
REPLIES = [Reply(Prompt(f"p{i}", TURNS, TURNS, FIELDS), text) for i, text in enumerate(TEXTS)]


# The examples of these name models of a hub; here they ask tiny ones.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "classifier": ("tone", {"label": "rude"}),
    "reward_model": ("reward", {"label": None}),
    "process_reward": ("steps", {"label": "good"}),
    "nli": ("nli", {}),
    "reranker": ("pairs", {}),
    "mutual_information": ("chat", {}),
}


@pytest.mark.parametrize("kind", sorted(SCORERS.keys() - {"combined"}))
def test_the_contract(kind: str, folders: Mapping[str, Path], judge: FakeJudge) -> None:
    spec = {"type": kind, **load("scorer", kind).example}
    if "server" in spec:
        spec |= judge.spec()
    if kind in MODELS:
        folder, options = MODELS[kind]
        spec |= {"model": str(folders[folder]), "device": "cpu", **options}
    scorer = build_scorers({"s": spec})["s"]
    if isinstance(scorer, CodeTests) and (problem := why_not(scorer.sandbox)):
        pytest.skip(problem)
    together = run_scorer(scorer, REPLIES)
    alone = [run_scorer(scorer, [reply])[0] for reply in REPLIES]
    for others in (alone, run_scorer(scorer, REPLIES[::-1])[::-1]):
        if isinstance(scorer, ModelScorer):  # all but for rounding: half precision in a chat model, fp32 in others
            within = 0.05 if kind == "mutual_information" else 1e-4
            assert [said.value for said in others] == pytest.approx([said.value for said in together], abs=within)
        else:
            assert others == together, "a batch is no more than its replies"
    assert any(said.value is not None for said in together)
    for said in together:
        assert (said.value is None) == (said.failure is not None)
        assert said.value is None or math.isfinite(said.value)
    assert run_scorer(scorer, []) == []
    assert scorer.description
    same = build_scorers({"other": spec})["other"]
    assert same.fingerprint == scorer.fingerprint, "its name is not what it is"


def test_other_options_are_another_scorer() -> None:
    one, other = build_scorers(
        {"a": {"type": "length", "max_words": 3}, "b": {"type": "length", "max_words": 4}}
    ).values()
    assert one.fingerprint != other.fingerprint


class Odd(Scorer):
    """Says whatever `says` makes of the batch."""

    says: Callable[[Sequence[Reply]], Any]

    def score(self, replies: Sequence[Reply]) -> Any:
        return self.says(replies)


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (lambda batch: [math.nan] * len(batch), "nan"),
        (lambda batch: [math.inf] * len(batch), "inf"),
        (lambda batch: [None] * len(batch), "None"),
        (lambda batch: ["good"] * len(batch), "str"),
        (lambda batch: [1.0] * (len(batch) + 1), "2 scores for 1"),
        (lambda batch: [], "0 scores for 1"),
        (lambda batch: None, "NoneType"),
        (lambda batch: 1 / 0, "ZeroDivisionError"),
        (lambda batch: [Score(None)] * len(batch), "neither a value nor a reason"),
        (lambda batch: [Score(math.nan)] * len(batch), "nan"),
    ],
)
def test_what_is_no_score_is_a_failed_score_with_the_reason(says: Any, reason: str) -> None:
    for said in run_scorer(Odd(says=says), REPLIES[:3]):
        assert said.value is None
        assert reason in str(said.failure)


def test_one_bad_reply_does_not_spoil_its_neighbours() -> None:
    def fussy(batch: Sequence[Reply]) -> list[float]:
        return [1 / len(reply.text) for reply in batch]

    values = [said.value for said in run_scorer(Odd(says=fussy), REPLIES[:3])]
    assert values == [1 / 16, None, 1 / 8]


@pytest.mark.parametrize(("said", "value"), [(True, 1.0), (False, 0.0), (3, 3.0), (Score(0.5, "half"), 0.5)])
def test_numbers_bools_and_scores_are_scores(said: Any, value: float) -> None:
    (score,) = run_scorer(Odd(says=lambda batch: [said]), REPLIES[:1])
    assert score.value == value
    assert type(score.value) is float


def test_what_is_said_of_a_score_can_be_stored() -> None:
    def raises(batch: Sequence[Reply]) -> Any:
        raise ValueError("half \ud83d")

    says: list[Any] = [lambda batch: [Score(1.0, "half \ud83d")], lambda batch: [Score.failed("half \ud83d")], raises]
    found = [run_scorer(Odd(says=one), REPLIES[:1])[0] for one in says]
    assert found == [Score(1.0, "half \ufffd"), Score.failed("half \ufffd"), Score.failed("ValueError: half \ufffd")]


MINE = '''
from rsft import Score


def shout(replies, least=2):
    """Counts exclamation marks."""
    return [r.text.count("!") >= least for r in replies]


class Shouter:
    def __init__(self, least: int):
        self.least = least

    def score(self, replies):
        return shout(replies, self.least)


def nothing():
    return []


class Mute:
    pass
'''


@pytest.fixture
def mine(tmp_path: Path) -> str:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return str(file)


def test_a_function_of_ones_own(mine: str) -> None:
    loud = [Reply(REPLIES[0].prompt, "Hi!!"), Reply(REPLIES[0].prompt, "Hi!")]
    scorers = build_scorers(
        {
            "plain": f"{mine}:shout",
            "with_option": {"type": f"{mine}:shout", "least": 1},
            "class": {"type": f"{mine}:Shouter", "least": 3},
        }
    )
    values = {name: [said.value for said in run_scorer(scorer, loud)] for name, scorer in scorers.items()}
    assert values == {"plain": [1.0, 0.0], "with_option": [1.0, 1.0], "class": [0.0, 0.0]}
    assert scorers["plain"].description == "Counts exclamation marks."


def test_an_edited_file_is_another_scorer_and_a_moved_one_is_not(mine: str, tmp_path: Path) -> None:
    before = build_scorers({"s": f"{mine}:shout"})["s"].fingerprint
    moved = tmp_path / "elsewhere" / "mine.py"
    moved.parent.mkdir()
    moved.write_text(MINE)
    assert build_scorers({"s": f"{moved}:shout"})["s"].fingerprint == before
    Path(mine).write_text(MINE.replace("least=2", "least=4"))
    assert build_scorers({"s": f"{mine}:shout"})["s"].fingerprint != before


@pytest.mark.parametrize(
    ("name", "options", "hint"),
    [
        ("shuot", {}, "shout"),
        ("shout", {"last": 3}, "Did you mean 'least'"),
        ("Shouter", {}, "'least' is missing"),
        ("nothing", {}, "must take the list of replies"),
        ("Mute", {}, "without a method 'score'"),
    ],
)
def test_mistakes_in_ones_own_scorer_name_the_fix(mine: str, name: str, options: Any, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        build_scorers({"s": {"type": f"{mine}:{name}", **options}})
    assert hint in str(caught.value)


def test_a_file_that_breaks_is_said_to_be_broken(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_like_that\n")
    with pytest.raises(RecipeError, match="nothing_like_that"):
        build_scorers({"s": f"{tmp_path}/broken.py:score"})
    with pytest.raises(RecipeError, match="does not exist"):
        build_scorers({"s": f"{tmp_path}/absent.py:score"})
