"""Judges behind a server: what their answers come to, how often they are asked, and what becomes of those that fail."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from command import Command
from judges import FakeJudge, data_in
from rsft.errors import RecipeError, ServerError
from rsft.scorers import Scorer, build_scorers, run_scorer
from rsft.types import Message, Prompt, Reply, Score

TURNS = (Message("user", "Where are you?"),)
PROMPT = Prompt("p", TURNS, TURNS, {"reference": "REF", "old": "Somewhere."})
REPLY = Reply(PROMPT, "We are in Oakland.")


def built(judge: FakeJudge, kind: str, **options: Any) -> Scorer:
    return build_scorers({"judge": judge.spec(type=kind, **options)})["judge"]


def said(scorer: Scorer, *texts: str) -> list[Score]:
    return run_scorer(scorer, [Reply(PROMPT, text) for text in texts])


def rated(*scores: int) -> Any:
    """Answers with these scores, one after another."""
    turn = count()
    return lambda body: {"explanation": f"Because {(n := next(turn))}.", "score": scores[n % len(scores)]}


# -- what answers come to --------------------------------------------------------------------------------------------


def test_a_rubrics_score_is_a_tenth_of_the_number_with_the_explanation(judge: FakeJudge) -> None:
    judge.says = lambda body: {"explanation": "Short.", "score": 7}
    assert said(built(judge, "rubric"), "We are in Oakland.") == [Score(0.7, "Short.")]


def test_ones_own_rubric_is_what_the_judge_reads(judge: FakeJudge) -> None:
    said(built(judge, "rubric", rubric="10: It rhymes. {x}"), "In Oakland.")
    assert judge.bodies[0]["messages"][0]["content"].count("10: It rhymes. {x}") == 2


def test_a_checklists_score_is_the_share_of_yes_and_the_noes_are_told(judge: FakeJudge) -> None:
    words = {"q1": "yes", "q2": "no", "q3": "yes", "q4": "no"}
    judge.says = lambda body: {key: {"explanation": f"{key}!", "answer": word} for key, word in words.items()}
    scorer = built(judge, "checklist", questions=["Is it short?", "Is it kind?", "Is it true?", "Is it new?"])
    assert said(scorer, "In Oakland.") == [Score(0.5, "no: Is it kind? (q2!); no: Is it new? (q4!)")]
    assert "q2: Is it kind?" in judge.bodies[0]["messages"][0]["content"]


def prefers(text: str) -> Any:
    """A judge that prefers this text, wherever it stands; 'A' or 'B' for one that prefers a place."""

    def says(body: Mapping[str, Any]) -> dict[str, str]:
        data = data_in(body)
        better = text if text in ("A", "B", "tie") else "A" if data["A"] == text else "B"
        return {"explanation": "So.", "better": better}

    return says


@pytest.mark.parametrize(
    ("preferred", "value"), [("In Oakland.", 1.0), ("REF", 0.0), ("A", 0.5), ("B", 0.5), ("tie", 0.5)]
)
def test_two_replies_are_compared_in_both_orders(preferred: str, value: float, judge: FakeJudge) -> None:
    judge.says = prefers(preferred)
    (score,) = said(built(judge, "pairwise"), "In Oakland.")
    assert score.value == value
    asked = sorted((data_in(body)["A"], data_in(body)["B"]) for body in judge.bodies)
    assert asked == [("In Oakland.", "REF"), ("REF", "In Oakland.")]


def test_a_win_and_a_tie_are_in_between(judge: FakeJudge) -> None:
    judge.says = lambda body: {"explanation": "", "better": "A" if data_in(body)["A"] != "REF" else "tie"}
    assert said(built(judge, "pairwise"), "In Oakland.")[0].value == 0.75


def test_another_field_may_hold_the_other_reply(judge: FakeJudge) -> None:
    judge.says = prefers("In Oakland.")
    assert said(built(judge, "pairwise", against="old"), "In Oakland.")[0].value == 1
    assert {data_in(body)["B"] for body in judge.bodies} == {"In Oakland.", "Somewhere."}


def test_what_can_not_be_compared_is_a_failed_score_and_what_is_equal_is_even(judge: FakeJudge) -> None:
    (score,) = said(built(judge, "pairwise", against="nothing"), "In Oakland.")
    assert score.value is None
    assert "'nothing' holds no reply" in str(score.failure)
    assert said(built(judge, "pairwise"), " REF\n") == [Score(0.5, "the same as the reference reply")]
    assert not judge.bodies


def test_a_field_that_the_prompt_lacks_is_a_failed_score_of_this_reply_alone(judge: FakeJudge) -> None:
    other = Prompt("q", TURNS, TURNS, {"facts": "x"})
    scores = run_scorer(built(judge, "rubric", shows=["facts"]), [REPLY, Reply(other, "In Oakland.")])
    assert [score.value for score in scores] == [None, 1.0]
    assert "no field 'facts'" in str(scores[0].failure)
    assert len(judge.bodies) == 1


# -- the request -----------------------------------------------------------------------------------------------------


def test_an_answer_is_asked_for_by_a_strict_schema_and_greedily(judge: FakeJudge) -> None:
    said(built(judge, "rubric", max_tokens=99), "In Oakland.")
    (body,) = judge.bodies
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("fake-judge", 0, 99)
    form = body["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["strict"] is True
    assert form["json_schema"]["schema"]["properties"]["score"]["enum"] == list(range(11))


def test_a_batch_is_asked_all_at_once(judge: FakeJudge) -> None:
    import threading

    together = threading.Barrier(8, timeout=60)

    def says(body: Mapping[str, Any]) -> Any:
        together.wait()
        return {"explanation": "", "score": 5}

    judge.says = says
    texts = [f"In Oakland, {n}." for n in range(8)]
    assert [score.value for score in said(built(judge, "rubric"), *texts)] == [0.5] * 8


@pytest.mark.parametrize(
    "message", ["Unknown field: response_format", "Invalid json_schema", "guided decoding is not supported"]
)
def test_a_server_without_structured_answers_is_asked_in_plain_words_from_then_on(
    message: str, judge: FakeJudge
) -> None:
    judge.refuses = lambda body: message if "response_format" in body else None
    scorer = built(judge, "rubric")
    assert said(scorer, "In Oakland.")[0].value == 1
    assert ["response_format" in body for body in judge.bodies] == [True, False]
    assert said(scorer, "In Fresno.")[0].value == 1
    assert ["response_format" in body for body in judge.bodies] == [True, False, False]
    assert "response_format" not in judge.bodies[-1]
    judge.bodies.clear()
    said(built(judge, "rubric", structured=False), "In Oakland.")
    assert ["response_format" in body for body in judge.bodies] == [False]


def test_a_server_that_calls_max_tokens_otherwise_is_understood(judge: FakeJudge) -> None:
    judge.refuses = lambda body: "Use 'max_completion_tokens' instead" if "max_tokens" in body else None
    assert said(built(judge, "rubric", max_tokens=99), "In Oakland.")[0].value == 1
    assert judge.bodies[-1]["max_completion_tokens"] == 99
    assert "response_format" in judge.bodies[-1]


def test_any_other_refusal_is_a_failed_score_and_is_not_asked_again(judge: FakeJudge) -> None:
    judge.refuses = lambda body: "the prompt is too long"
    (score,) = said(built(judge, "rubric"), "In Oakland.")
    assert score.value is None
    assert "the prompt is too long" in str(score.failure)
    assert len(judge.bodies) == 1


# -- answers that fail -----------------------------------------------------------------------------------------------


def test_an_answer_that_can_not_be_read_is_drawn_again_by_another_seed(judge: FakeJudge) -> None:
    answers = iter(["Score: 8", '{"explanation": "Good.", "score": 8}'])
    judge.says = lambda body: next(answers)
    assert said(built(judge, "rubric"), "In Oakland.") == [Score(0.8, "Good.")]
    first, second = judge.bodies
    assert first["seed"] != second["seed"]
    assert second["temperature"] > 0, "or it would say the same"


@pytest.mark.parametrize("text", ["8", "Score: 8", "?", '{"explanation": "Good.", "score": 12}'])
def test_what_can_not_be_read_twice_is_a_failed_score_never_a_0(text: str, judge: FakeJudge) -> None:
    judge.says = lambda body: text
    for kind, options in (("rubric", {}), ("pairwise", {}), ("checklist", {"questions": ["Kind?"]})):
        judge.bodies.clear()
        (score,) = said(built(judge, kind, **options), "In Oakland.")
        assert score.value is None
        assert "the judge's answer" in str(score.failure)
        assert len(judge.bodies) == (4 if kind == "pairwise" else 2)


def test_one_bad_answer_fails_its_reply_alone(judge: FakeJudge) -> None:
    judge.says = lambda body: "?" if data_in(body)["reply"] == "bad" else {"explanation": "", "score": 4}
    assert [score.value for score in said(built(judge, "rubric"), "good", "bad", "fine")] == [0.4, None, 0.4]


def test_a_missing_key_stops_before_anybody_is_asked(judge: FakeJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_JUDGES_KEY", raising=False)
    server = judge.spec()["server"] | {"key_env": "MY_JUDGES_KEY"}
    (scorer,) = build_scorers({"judge": {"type": "rubric", "server": server}}).values()
    with pytest.raises(ServerError, match="MY_JUDGES_KEY"):
        scorer.prepare()


# -- several answers -------------------------------------------------------------------------------------------------


def test_several_answers_are_averaged_and_their_spread_is_told(judge: FakeJudge) -> None:
    judge.says = rated(6, 8, 10)
    (score,) = said(built(judge, "rubric", repeats=3), "In Oakland.")
    assert score.value == pytest.approx(0.8)
    assert "standard deviation 0.16" in score.explanation
    assert "Because" in score.explanation
    assert len({body["seed"] for body in judge.bodies}) == 3
    assert {body["temperature"] for body in judge.bodies} == {0.7}


def test_seeds_hang_on_the_reply_and_not_on_its_batch(judge: FakeJudge) -> None:
    scorer = built(judge, "rubric", repeats=2)

    def seeds(*texts: str) -> dict[str, list[int]]:
        judge.bodies.clear()
        said(scorer, *texts)
        found: dict[str, list[int]] = {}
        for body in judge.bodies:
            found.setdefault(data_in(body)["reply"], []).append(body["seed"])
        return {text: sorted(some) for text, some in found.items()}

    together, alone = seeds("one", "two"), seeds("two")
    assert together["two"] == alone["two"]
    assert not set(together["one"]) & set(together["two"])


def test_repeats_of_both_orders_are_kept_apart(judge: FakeJudge) -> None:
    judge.says = prefers("In Oakland.")
    (score,) = said(built(judge, "pairwise", repeats=2), "In Oakland.")
    assert score.value == 1
    assert "standard deviation 0)" in score.explanation
    assert len(judge.bodies) == 4


def test_a_repeat_that_failed_fails_the_score(judge: FakeJudge) -> None:
    good = json.dumps({"explanation": "", "score": 9})
    judge.says = lambda body: good
    scorer = built(judge, "rubric", repeats=2)
    assert said(scorer, "In Oakland.")[0].value == 0.9
    one = judge.bodies[0]["seed"]
    judge.says = lambda body: good if body["seed"] == one else "?"
    assert said(scorer, "In Oakland.")[0].value is None


# -- who judges ------------------------------------------------------------------------------------------------------


def fingerprint(judge: FakeJudge, server: Mapping[str, Any] | None = None, kind: str = "rubric", **options: Any) -> str:
    spec = judge.spec(type=kind, **options)
    return build_scorers({"judge": {**spec, "server": spec["server"] | (server or {})}})["judge"].fingerprint


def test_the_fingerprint_is_the_model_and_the_question_not_the_way_there(judge: FakeJudge) -> None:
    one = fingerprint(judge)
    ways: Sequence[Mapping[str, Any]] = [
        {"url": "http://127.0.0.1:9/v1"},
        {"timeout_seconds": 5, "concurrency": 2, "attempts": 9},
        {"price": {"input": 1, "output": 2}, "max_cost": 3, "key_env": "OTHER"},
    ]
    assert {fingerprint(judge, way) for way in ways} == {one}
    others = [
        fingerprint(judge, {"model": "another"}),
        fingerprint(judge, rubric="10: kind"),
        fingerprint(judge, repeats=2),
        fingerprint(judge, temperature=0.3),
        fingerprint(judge, shows=["facts"]),
        fingerprint(judge, kind="pairwise"),
        fingerprint(judge, kind="checklist", questions=["Kind?"]),
        fingerprint(judge, kind="checklist", questions=["Short?"]),
    ]
    assert len({one, *others}) == 9


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"server": None}, "give either server"),
        ({"model": "x/y"}, "give either server"),
        ({"repeats": 2, "temperature": 0}, "leave temperature out"),
        ({"repeats": 0}, "repeats"),
        ({"rubrik": "x"}, "Did you mean 'rubric'"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], hint: str, judge: FakeJudge) -> None:
    with pytest.raises(RecipeError, match=hint):
        build_scorers({"judge": judge.spec(type="rubric") | options})


def test_a_server_stands_in_for_the_runs_model(judge: FakeJudge, caplog: pytest.LogCaptureFixture) -> None:
    (scorer,) = build_scorers({"judge": judge.spec(type="rubric")}, ["x/y"]).values()
    scorer.prepare()
    assert caplog.messages == []
    assert run_scorer(scorer, [REPLY])[0].value == 1


def test_a_judge_is_tested_against_peoples_labels(
    judge: FakeJudge, cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 16 labelled replies the judge is right about 12: accuracy 0.75, kappa (0.75 − 0.5) / 0.5."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    rows = [
        {"prompt": f"Where, {n}?", "reply": f"{'Right' if (n % 2) ^ (n % 8 < 2) else 'Wrong'} {n}", "label": n % 2}
        for n in range(16)
    ]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    judge.says = lambda body: {"explanation": "", "score": 9 if data_in(body)["reply"].startswith("Right") else 2}
    recipe = {
        "model": "none",
        "prompts": {"train": "rows.jsonl"},
        "scorers": {"good": judge.spec(type="rubric"), "tidy": "one_line"},
        "selection": ["good >= 0.7"],
    }
    Path("recipe.yaml").write_text(json.dumps(recipe))
    found = cli("scorers", "test", "recipe.yaml", "--labels", "rows.jsonl", "--json").json["scorers"]
    assert found["good"]["trials"]["label"]["auc"]["value"] == 0.75
    assert found["good"]["agreement"]["accuracy"]["value"] == 0.75
    assert found["good"]["agreement"]["kappa"] == 0.5
    assert found["tidy"]["agreement"] is None
    assert len(judge.bodies) == 16, "each reply is paid for once"
    out = cli("scorers", "test", "recipe.yaml", "--labels", "rows.jsonl").out
    assert "good agrees with the labels on 75.0% [51, 90], Cohen's kappa 0.50" in " ".join(out.split())
