"""Columns that have other names than rsft's: which is read as what, and what is said where it can't be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsft.config import load_recipe
from rsft.errors import PromptError, RecipeError
from rsft.prompts import Column, load_prompts
from rsft.prompts.naming import Naming
from rsft.prompts.rows import Place, Row

PROBLEM = {"question": "What is 6 * 7?", "answer": "6 * 7 = 42\n#### 42 "}
COLUMNS = {"prompt": Column("question"), "answer": Column("answer", "####"), "reference": Column("answer")}
USER = {"role": "user", "content": "hi"}


def named(columns: dict[str, Column], **row: Any) -> dict[str, Any]:
    return Naming(columns).of(Row(Place("p.jsonl", 1), row)).columns


def loaded(tmp_path: Path, columns: dict[str, Column], *rows: dict[str, Any]) -> Any:
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_prompts(str(tmp_path / "p.jsonl"), columns=columns)


def refusal(tmp_path: Path, columns: dict[str, Column], *rows: dict[str, Any]) -> str:
    with pytest.raises(PromptError) as refused:
        loaded(tmp_path, columns, *rows)
    return str(refused.value)


def test_a_column_may_be_read_as_several_things_and_in_part(tmp_path: Path) -> None:
    (prompt,) = loaded(tmp_path, COLUMNS, PROBLEM)
    assert prompt.conversation[-1].content == PROBLEM["question"]
    assert prompt.fields == {"answer": "42", "reference": PROBLEM["answer"]}


@pytest.mark.parametrize(
    ("said", "answer"),
    [("a #### b #### c", "c"), ("42", "42"), ("ends with ####", ""), (42, 42), (["####", "1"], ["####", "1"])],
)
def test_what_stands_behind_a_mark(said: Any, answer: Any) -> None:
    assert named({"answer": Column("answer", "####")}, prompt="hi", answer=said)["answer"] == answer


def test_a_column_in_the_way_gets_another_name_and_so_does_a_second_conversation() -> None:
    said = named({"messages": Column("chat"), "answer": Column("gold")}, chat=[USER], prompt="x", gold=1, answer=2)
    assert said == {"messages": [USER], "answer": 1, "other_prompt": "x", "other_answer": 2}
    assert named({"messages": Column("messages")}, messages=[USER], prompt="x", other_prompt="y") == {
        "messages": [USER], "other_prompt": "y", "other_other_prompt": "x",
    }  # fmt: skip
    assert named({"prompt": Column("answer"), "answer": Column("prompt")}, prompt=1, answer="hi") == {
        "prompt": "hi", "answer": 1,
    }  # fmt: skip


def test_rows_without_the_conversation_s_column_are_read_as_they_stand(tmp_path: Path) -> None:
    own = {"messages": [USER], "answer": "so #### it is", "reference": "mine"}
    first, second = loaded(tmp_path, COLUMNS, own, PROBLEM)
    assert first.fields == {"answer": "so #### it is", "reference": "mine"}
    assert second.fields["answer"] == "42"


def test_a_name_without_a_conversation_s_holds_in_all_rows(tmp_path: Path) -> None:
    first, second = loaded(tmp_path, {"tests": Column("asserts")}, {"prompt": "a", "asserts": ["b"]}, {"prompt": "c"})
    assert first.fields == {"tests": ["b"]}
    assert second.fields == {}


def test_columns_that_are_not_there_are_told(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"prompt": Column("qestion")}, PROBLEM)
    assert "line 1: has no column 'qestion', which prompts.columns names for the conversation" in message
    assert "found 'question', 'answer'. Did you mean 'question'?" in message
    message = refusal(tmp_path, {"prompt": Column("question"), "answer": Column("anser")}, PROBLEM, PROBLEM)
    assert message.startswith("prompts.columns reads answer from the column 'anser', which no row of '")
    assert "p.jsonl' has. Did you mean 'answer'? The rows have 'question', 'answer'." in message
    loaded(tmp_path, {"prompt": Column("question"), "tests": Column("t")}, PROBLEM, {**PROBLEM, "t": "x"})
    message = refusal(tmp_path, {}, PROBLEM)
    assert "of train and heldout, the recipe can say so: prompts.columns: {prompt: NAME}" in message


def test_one_conversation_only() -> None:
    with pytest.raises(PromptError, match="says the conversation twice, as prompt and messages; keep one"):
        Naming({"prompt": Column("a"), "messages": Column("b")})


@given(
    row=st.dictionaries(st.sampled_from(["a", "b", "messages", "prompt", "other_prompt"]), st.integers(), min_size=1),
    columns=st.dictionaries(st.sampled_from(["a", "b", "x"]), st.sampled_from(["a", "b", "messages"])),
)
def test_no_cell_is_lost(row: dict[str, int], columns: dict[str, str]) -> None:
    said = named({word: Column(name) for word, name in columns.items()}, **row)
    assert set(row.values()) == set(said.values())


def test_a_recipe_says_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = "model: none\nprompts: {train: p.jsonl}\nscorers: {right: answer}\nselection: [right >= 1]\n"
    (tmp_path / "r.yaml").write_text(said)
    recipe = load_recipe("r.yaml", ["prompts.columns={prompt: question, answer: {column: answer, behind: '####'}}"])
    assert recipe.prompts.columns["prompt"].column == "question"
    assert recipe.prompts.columns["answer"].behind == "####"
    with pytest.raises(RecipeError, match=r"'prompts\.columns\.answer\.behnd' is not a key of .*Did you mean 'behind'"):
        load_recipe("r.yaml", ["prompts.columns={answer: {column: answer, behnd: '####'}}"])
    with pytest.raises(RecipeError, match=r"prompts\.columns\.answer\.column' is missing"):
        load_recipe("r.yaml", ["prompts.columns={answer: {behind: '####'}}"])
