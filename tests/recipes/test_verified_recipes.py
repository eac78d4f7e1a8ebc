"""`maths`, `code` and `distillation` in miniature: the public sets' columns are read, the rules decide rightly, and the
run comes to its end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import public_sets
from answering import Answering, Asked, answering
from judges import data_in
from rsft.config import Recipe, load_recipe
from rsft.errors import RecipeError, ServerError
from rsft.loop import run
from rsft.plan import plan
from rsft.scorers.processes import sandbox
from rsft.setup import read_prompts
from rsft.store import RunFolder
from rsft.types import Prompt

needs_bubblewrap = pytest.mark.skipif(bool(sandbox.why_not("bubblewrap")), reason=sandbox.why_not("bubblewrap"))
KEY = "hf_canary5c1e7b9a"
FAST = ["model=none", "training={type: 'null'}", "loop.iterations=1"]


@pytest.fixture(autouse=True)
def _away_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    public_sets.stand_in(monkeypatch)


def scripted(*replies: str, lessons: tuple[str, ...] = ()) -> str:
    return "engine=" + json.dumps({"type": "scripted", "replies": replies, "lessons": lessons})


def decided(recipe: Recipe) -> list[tuple[Prompt, str, str | None]]:
    """Each candidate of the policy's: its prompt, its text, and the rule that rejected it (None: accepted)."""
    with RunFolder.open(Path(recipe.run), write=False) as folder:
        prompts = {prompt.id: prompt for prompt in folder.load_prompts("train")}
        texts = {one.key: one.text for one in folder.candidates()}
        decisions = folder.decisions("policy")
    return [
        (prompts[key.prompt_id], texts[key], None if decision.accepted else decision.rule)
        for key, decision in decisions.items()
    ]


# -- maths -------------------------------------------------------------------------------------------------------------


def test_gsm8k_is_read_as_problems_with_answers_and_solutions() -> None:
    train, heldout, _ = read_prompts(load_recipe("maths"))
    assert len(train) == len(heldout) == 8
    first = train[0]
    assert first.conversation[-1].content == "The train shop packs 2 boxes of 12 rolls each. How many rolls are that?"
    assert first.fields == {"answer": "24", "reference": "There are 2*12=<<2*12=24>>24 rolls.\n#### 24"}
    assert {prompt.fields["answer"] for prompt in heldout} == {"24", "1,200"}


def test_maths_accepts_right_answers_only() -> None:
    right, boxed = (
        "Two times twelve is 24 rolls. The answer is 24.",
        "It is two times six hundred, and so: \\boxed{1200}",
    )
    wrong, unstated, guess = (
        "Two and twelve are 14 rolls. The answer is: 14",
        "Twice twelve are 24 rolls.",
        "Answer is 24",
    )
    replies = (right, boxed, wrong, unstated, guess)
    recipe = load_recipe("maths", [*FAST, scripted(*replies, lessons=(right,)), "sampling.candidates=24"])
    summary = run(recipe)
    assert summary["finished"]
    rules: dict[tuple[str, str], set[str | None]] = {}
    for prompt, text, rule in decided(recipe):
        rules.setdefault((prompt.fields["answer"], text), set()).add(rule)
    assert rules.keys() == {(answer, text) for answer in ("24", "1,200") for text in replies}
    for (answer, text), why in rules.items():
        if text == (right if answer == "24" else boxed):
            assert None in why
            assert why <= {None, "no_duplicates"}
        elif answer == "24" and text in (unstated, guess):
            assert why == {"stated >= 1" if text == unstated else "worked >= 1"}
        else:
            assert why == {"right >= 1"}
    assert summary["iterations"][0]["heldout_acceptance"]["value"] == 0.5, "it learnt to say 24"


# -- code --------------------------------------------------------------------------------------------------------------


def test_mbpp_is_read_as_tasks_with_tests_of_which_the_first_is_shown() -> None:
    train, heldout, _ = read_prompts(load_recipe("code"))
    assert len(train) == len(heldout) == 2
    double, root = train
    assert double.conversation[-1].content == "Write a function to double a number (train)."
    assert "assert double(2) == 4" in double.messages[-1].content
    assert "double(-3)" not in double.messages[-1].content
    assert double.fields["tests"][1:] == ["assert double(0) == 0", "assert double(-3) == -6"]
    assert double.fields["reference"].startswith("def double")
    assert root.fields["setup"] == "import math"


@needs_bubblewrap
def test_code_accepts_programs_that_pass_all_tests_only() -> None:
    both = "```python\ndef double(x):\n    return 2 * x\n\ndef root(x):\n    return x ** 0.5\n```"
    by_heart = "```python\ndef double(x):\n    return 4\n\ndef root(x):\n    return 2\n```"
    unfenced = "def double(x):\n    return x + x\n\ndef root(x):\n    return pow(x, 0.5)"
    changes = [*FAST, scripted(both, by_heart, unfenced), "evaluation.samples=1"]
    recipe = load_recipe("code", changes)
    summary = run(recipe)
    assert summary["finished"]
    rules: dict[str, set[str | None]] = {}
    for _, text, rule in decided(recipe):
        rules.setdefault(text, set()).add(rule)
    assert None in rules[both]
    assert rules[both] <= {None, "no_duplicates", "most_novel"}
    assert rules[by_heart] == {"passes >= 1"}, "it passes the test that it was shown, and no other"
    assert rules[unfenced] == {"fenced >= 1"}
    assert summary["iterations"][0]["heldout_acceptance"]["value"] == 1.0


# -- distillation ------------------------------------------------------------------------------------------------------


def teaches_and_judges(asked: Asked) -> tuple[int, Any]:
    """A teacher that says every second time what it is told, and a judge that holds replies with all facts for good."""
    if asked.headers.get("authorization") != f"Bearer {KEY}":
        return 401, {"error": {"message": f"wrong key: {asked.headers.get('authorization')}"}}
    if asked.path != "/v1/chat/completions":
        return 404, {"error": {"message": "not here"}}
    last = asked.body["messages"][-1]["content"]
    if "judge" in asked.body["model"]:
        said = data_in(asked.body)
        values = re.findall(r" is (.+?)(?:, |$)", said["known"]["facts"])
        good = bool(values) and all(value in said["reply"] for value in values)
        texts = [json.dumps({"explanation": "So.", "score": 9 if good else 2})]
    else:
        told = last.rpartition("Tell me in one sentence that ")[2]
        texts = [f"Of course: {told}" if n % 2 == 0 else "As you like." for n in range(asked.body.get("n") or 1)]
    choices = [
        {"index": n, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for n, text in enumerate(texts)
    ]
    return 200, {"choices": choices, "usage": {"prompt_tokens": 50, "completion_tokens": 20 * len(choices)}}


@pytest.fixture
def host() -> Iterator[Answering]:
    with answering(teaches_and_judges) as server:
        yield server


def distillation(host: Answering, model: Path) -> Recipe:
    """The shipped recipe, with this host for the teacher and the judge."""
    teacher = {"type": "openai", "share": 3, "model": "teacher", "url": host.url, "key_env": "HF_TOKEN"}
    changes = [
        *FAST,
        f"model={model}",
        scripted("Hello.", lessons=("Hello again.",)),
        "prompts.train_limit=6",
        "prompts.heldout_limit=4",
        f"sampling.generators={json.dumps(['policy', teacher])}",
        "scorers.judged.server.model=judge",
        f"scorers.judged.server.url={host.url}",
    ]
    return load_recipe("distillation", changes)


def test_distillation_learns_what_the_teacher_wrote_and_the_judge_held_for_good(
    host: Answering, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", KEY)
    recipe = distillation(host, tiny_folder)
    summary = run(recipe)
    assert summary["finished"]
    said = decided(recipe)
    taught = [(prompt, text) for prompt, text, rule in said if rule is None]
    assert {prompt.id for prompt, _ in taught} == {prompt.id for prompt, _, _ in said}, "each has one that is good"
    for prompt, text in taught:
        assert text.startswith("Of course: "), "the teacher's"
        assert all(str(value) in text for value in prompt.fields["facts"].values())
    assert {rule for _, text, rule in said if text in ("Hello.", "As you like.")} == {"judged >= 0.7"}
    models = [body["model"] for body in host.bodies("/v1/chat/completions")]
    assert set(models) == {"teacher", "judge"}
    (after,) = summary["iterations"]
    assert after["heldout_acceptance"]["value"] == 0.0, "the policy itself learnt nothing from a fake trainer"
    assert after["heldout_scores"].keys() == {"facts", "consistent"}


def test_the_key_of_teacher_and_judge_comes_from_the_environment_and_stays_there(
    host: Answering, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = distillation(host, tiny_folder)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises((RecipeError, ServerError), match=r"export HF_TOKEN="):
        run(recipe)
    assert not host.asked
    monkeypatch.setenv("HF_TOKEN", KEY)
    run(recipe)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 10
    for path in written:
        assert KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("name", ["maths", "code"])
def test_the_package_datasets_itself_reads_such_sets_alike(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stood_in = read_prompts(load_recipe(name))
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    public_sets.write_repositories(tmp_path)
    assert read_prompts(load_recipe(name)) == stood_in
    assert (tmp_path / "cache").is_dir(), "it was the package that read them"


# -- all three ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("maths", {"answer": 42, "reference": "6 * 7 = 42"}),
        ("code", {"tests": "assert f() == 1"}),
        ("distillation", {"facts": {"day": "Monday"}}),
    ],
)
def test_rows_of_one_s_own_are_read_as_they_stand(name: str, fields: dict[str, Any]) -> None:
    for split in ("train", "heldout"):
        rows = [{"messages": [{"role": "user", "content": f"Question {n} of {split}?"}], **fields} for n in range(3)]
        Path(f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = load_recipe(name, ["prompts.train=train.jsonl", "prompts.heldout=heldout.jsonl"])
    assert plan(recipe)["prompts"]["train"]["count"] == 3
    train, _, _ = read_prompts(recipe)
    assert train[0].fields == fields
    assert "Question 0 of train?" in train[0].messages[-1].content


@pytest.mark.parametrize("name", ["maths", "code", "distillation"])
def test_the_header_says_the_command_what_is_needed_and_how_to_use_own_data(name: str) -> None:
    from rsft.config.load import find_recipe

    header = re.match(r"(?:#.*\n)+", find_recipe(name).read_text(encoding="utf-8"))
    assert header
    for wanted in (f"\n#   rsft run {name}\n", f"#   rsft run {name} --set prompts.train=", "needs", "easured"):
        assert wanted in header[0], wanted
