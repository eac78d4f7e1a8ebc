"""Which column is read as what: by its name, by what it holds, by what is said; and no cell is lost."""

from __future__ import annotations

from typing import Any

import pytest

from rsft.errors import PromptError
from rsft.prompts import prompts_of
from rsft.prompts.rows import Place, Row
from rsft.starting import KINDS, Reading, propose
from rsft.starting.columns import columns_of

TURNS = [{"role": "user", "content": "Wo ist mein Paket? 🙂"}]
SHAREGPT = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]


def rows(*columns: dict[str, Any]) -> list[Row]:
    return [Row(Place("file.jsonl", number), one) for number, one in enumerate(columns, 1)]


def read(kind: str, *columns: dict[str, Any], **said: str) -> Reading:
    there = rows(*columns)
    return propose(there, columns_of(there), KINDS[kind], said)


@pytest.mark.parametrize(
    ("kind", "row", "renames"),
    [
        ("service", {"messages": TURNS, "facts": {"a": "b"}}, {}),
        ("service", {"prompt": "Hi"}, {}),
        ("service", {"instruction": "Say it", "input": "now", "output": "It."}, {}),
        ("service", {"conversations": SHAREGPT, "answer": "42"}, {}),
        ("service", {"dialogue": TURNS, "slots": {"a": "b"}}, {"messages": "dialogue", "facts": "slots"}),
        ("social", {"odd name": TURNS, "text": "a summary"}, {"messages": "odd name"}),
        ("social", {"dialog": SHAREGPT}, {"messages": "dialog"}),
        ("social", {"Question": "Hi?", "Answer": "Hello."}, {"prompt": "Question", "reference": "Answer"}),
        ("maths", {"problem": "1+1?", "solution": r"So \boxed{2}."}, {"prompt": "problem", "answer": "solution"}),
        ("maths", {"question": "1+1?", "answer": 2}, {"prompt": "question"}),
        (
            "code",
            {"task_id": 7, "text": "Add two.", "code": "def f(): ...", "test_list": ["assert 1"]},
            {"prompt": "text", "tests": "test_list", "reference": "code"},
        ),
        (
            "character",
            {"utterance": "Hi", "personality": ["I am Mira."]},
            {"prompt": "utterance", "persona": "personality"},
        ),
        ("service", {"messages": "a text under a list's name"}, {"prompt": "messages"}),
        ("social", {"only": "Hi"}, {"prompt": "only"}),
    ],
)  # fmt: skip
def test_columns_are_known_by_name_and_content(kind: str, row: dict[str, Any], renames: dict[str, str]) -> None:
    reading = read(kind, row)
    assert reading.renames == renames
    assert reading.changes == bool(renames)
    (prompt,) = prompts_of([reading.of(one) for one in rows(row)])
    assert prompt.conversation[-1].role == "user"


def test_json_as_text_is_read_where_a_list_or_an_object_is_wanted() -> None:
    row = {"dialogue": '[{"role": "user", "content": "Où?"}]', "slots": '{"jour": "mardi"}', "note": '{"left": 1}'}
    reading = read("service", row)
    assert reading.folded == {"dialogue", "slots"}
    (prompt,) = prompts_of([reading.of(one) for one in rows(row)])
    assert prompt.messages[0].content == "Où?"
    assert prompt.fields == {"facts": {"jour": "mardi"}, "note": '{"left": 1}'}


def test_a_second_conversation_is_set_aside_and_not_lost() -> None:
    row = {"prompt": "Hi", "messages": [*TURNS, {"role": "assistant", "content": "Hier."}], "other_prompt": "x"}
    reading = read("social", row)
    assert reading.columns["messages"] == "messages"
    (prompt,) = prompts_of([reading.of(one) for one in rows(row)])
    assert prompt.fields == {"other_prompt": "x", "other_other_prompt": "Hi", "reference": "Hier."}


def test_a_column_in_the_way_of_a_name_is_kept_under_another() -> None:
    row = {"question": "Hi", "prompt": None, "facts": "some text", "slots": {"a": "b"}}
    reading = read("service", row)
    assert reading.renames == {"prompt": "question", "facts": "slots"}
    (made,) = (reading.of(one) for one in rows(row))
    assert made.columns == {"prompt": "Hi", "facts": {"a": "b"}, "other_facts": "some text", "other_prompt": None}


def test_answers_behind_four_marks_become_answers() -> None:
    row = {"question": "2+2?", "answer": "Two and two.\n#### 4"}
    reading = read("maths", row)
    assert reading.finals
    (prompt,) = prompts_of([reading.of(one) for one in rows(row)])
    assert prompt.fields == {"answer": "4", "reference": "Two and two.\n#### 4"}
    assert not read("maths", row, {"question": "1+1?", "answer": "2"}).finals


def test_what_is_said_comes_first_and_an_empty_column_leaves_a_field_out() -> None:
    row = {"question": "Hi", "text": "Ho", "answer": "Hello."}
    assert read("social", row, prompt="text").renames == {"prompt": "text", "reference": "answer"}
    assert read("social", row, reference="").renames == {"prompt": "question"}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"prompt": "questoin"}, ["questoin", "Did you mean 'question'?"]),
        ({"promt": "question"}, ["promt", "Did you mean 'prompt'?"]),
        ({"prompt": "question", "messages": "text"}, ["twice"]),
        ({"prompt": "question", "reference": "question"}, ["two things"]),
    ],
)
def test_what_is_said_wrongly_is_refused(said: dict[str, str], words: list[str]) -> None:
    with pytest.raises(PromptError) as found:
        read("social", {"question": "Hi", "text": "Ho"}, **said)
    assert all(word in str(found.value) for word in words)


def test_columns_that_tell_nothing_are_refused_with_what_to_say() -> None:
    with pytest.raises(PromptError, match=r"'left', 'right'.*--column messages=NAME"):
        read("social", {"left": "Hi", "right": "Ho"})


def test_lists_of_texts_are_told_to_be_mute() -> None:
    with pytest.raises(PromptError, match=r"'turns' holds lists of texts, which don't say who speaks"):
        read("social", {"id": 1, "turns": ["Hi", "Hello"], "category": 7})


def test_a_malformed_conversation_is_left_for_the_loader_to_name() -> None:
    reading = read("social", {"messages": [{"role": "user"}]})
    assert not reading.changes
    with pytest.raises(PromptError, match=r"messages\[0\]"):
        prompts_of([reading.of(one) for one in rows({"messages": [{"role": "user"}]})])
