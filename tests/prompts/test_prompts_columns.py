"""Forms of rows: what each gives, and what is said of rows that are none."""

from decimal import Decimal
from typing import Any

import numpy
import pytest

from rsft.prompts.columns import parse
from rsft.prompts.rows import BadRow, Place, Row, shown
from rsft.prompts.values import plain
from rsft.types import Message

USER, ASSISTANT = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}
SYSTEM, TOOL = {"role": "system", "content": "Be kind."}, {"role": "tool", "content": "42"}


def parsed(**columns: Any) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    row = parse(Row(Place("p.jsonl", 1), columns))
    return [(turn.role, turn.content) for turn in row.conversation], row.fields


def refusal(**columns: Any) -> str:
    with pytest.raises(BadRow) as refused:
        parsed(**columns)
    return str(refused.value)


@pytest.mark.parametrize("name", ["messages", "prompt", "conversations"])
def test_a_list_of_turns(name: str) -> None:
    turns, fields = parsed(**{name: [SYSTEM, USER, ASSISTANT, USER]}, answer=42)
    assert turns == [("system", "Be kind."), ("user", "hi"), ("assistant", "hello"), ("user", "hi")]
    assert fields == {"answer": 42}


def test_a_tool_s_result_awaits_a_reply_too() -> None:
    assert parsed(messages=[USER, TOOL])[0][-1] == ("tool", "42")


@pytest.mark.parametrize("name", ["messages", "prompt", "conversations"])
def test_a_last_turn_of_the_assistant_becomes_the_reference(name: str) -> None:
    assert parsed(**{name: [USER, ASSISTANT]}) == ([("user", "hi")], {"reference": "hello"})
    assert parsed(**{name: [USER, ASSISTANT]}, reference=None) == ([("user", "hi")], {"reference": "hello"})
    message = refusal(**{name: [USER, ASSISTANT]}, reference="other")
    assert message.startswith(f"there are two references, the column 'reference' and the last turn of '{name}'")


def test_a_prompt_of_text() -> None:
    assert parsed(prompt=" hi\n") == ([("user", " hi\n")], {})


def test_sharegpt() -> None:
    said = [
        ("system", "Be kind."),
        ("human", "hi"),
        ("gpt", "hello"),
        ("user", "2?"),
        ("chatgpt", "4"),
        ("observation", "4"),
    ]
    turns, fields = parsed(conversations=[{"from": who, "value": what} for who, what in said], source="x")
    assert [role for role, _ in turns] == ["system", "user", "assistant", "user", "assistant", "tool"]
    assert fields == {"source": "x"}
    one = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    assert parsed(conversations=one) == ([("user", "hi")], {"reference": "hello"})


def test_alpaca() -> None:
    assert parsed(instruction="Add.", input="1 2", output="3") == ([("user", "Add.\n\n1 2")], {"reference": "3"})
    assert parsed(instruction="Add.", input="", output="", x=1) == ([("user", "Add.")], {"x": 1})
    assert parsed(instruction="Add.") == ([("user", "Add.")], {})
    assert "the column 'output'" in refusal(instruction="Add.", output="3", reference="4")
    assert "field 'input' holds 3" in refusal(instruction="Add.", input=3)
    assert "field 'output' holds 3" in refusal(instruction="Add.", output=3)
    assert "field 'instruction' holds ['Add.']" in refusal(instruction=["Add."])


def test_input_and_output_are_plain_fields_elsewhere() -> None:
    assert parsed(prompt="hi", input="a", output="b")[1] == {"input": "a", "output": "b"}


def test_exactly_one_form() -> None:
    assert refusal(prompt="hi", messages=[USER]).startswith("the columns 'messages', 'prompt' each hold a conversation")
    assert parsed(prompt="hi", messages=None, conversations=[]) == ([("user", "hi")], {})
    message = refusal(text="hi", question="what?")
    assert "no column holds a conversation; found 'text', 'question'; expected 'messages'" in message
    assert "found no columns" in refusal()


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ("hi", "field 'messages' holds 'hi'; expected a list of turns"),
        ([], "field 'messages' holds []; expected a conversation that is not empty"),
        (["hi"], "field 'messages[0]' holds 'hi'; expected an object"),
        ([{"content": "hi"}], "field 'messages[0]' holds {'content': 'hi'}; expected 'role' and 'content'"),
        ([{"from": "human"}], "expected 'from' and 'value'"),
        ([{"role": "usr", "content": "hi"}], "field 'messages[0].role' holds 'usr'; expected one of system, user"),
        ([{"role": "usr", "content": "hi"}], "Did you mean 'user'?"),
        ([{"role": ["user"], "content": "hi"}], "field 'messages[0].role' holds ['user']"),
        ([{"from": "alien", "value": "hi"}], "field 'messages[0].from' holds 'alien'"),
        ([USER, {"role": "user", "content": " \n"}], "field 'messages[1].content' holds ' \\n'; expected a text that"),
        ([{"role": "user", "content": None}], "field 'messages[0].content' holds None; expected a text"),
        ([{"role": "user", "content": 3}], "field 'messages[0].content' holds 3; expected a text"),
        ([{"role": "user", "content": []}], "field 'messages[0].content' holds []; expected a text"),
        ([{"role": "assistant", "content": None, "tool_calls": [{}]}], "field 'messages[0].tool_calls' holds [{}]"),
        ([SYSTEM], "ends with a turn of the system; expected a turn of the user (or a tool)"),
        ([ASSISTANT], "holds nothing before the assistant's turn"),
        ([USER, ASSISTANT, ASSISTANT], "ends with a turn of the assistant"),
    ],
)
def test_bad_turns(messages: Any, said: str) -> None:
    assert said in refusal(messages=messages)


def test_parts_of_text_are_joined_and_others_refused() -> None:
    parts = [{"type": "text", "text": "Look:"}, {"type": "text", "text": "a bike"}]
    assert parsed(messages=[{"role": "user", "content": parts}])[0] == [("user", "Look:\na bike")]
    parts.append({"type": "image_url", "image_url": "x"})  # type: ignore[dict-item]
    assert "field 'messages[0].content[2]' holds" in refusal(messages=[{"role": "user", "content": parts}])


@pytest.mark.parametrize(
    ("said", "expected"), [("a", "a"), (7, "7"), (0, "0"), (None, None), ("x y/../z", "x y/../z"), ("谢", "谢")]
)
def test_ids(said: Any, expected: str | None) -> None:
    row = parse(Row(Place("p.jsonl", 1), {"id": said, "prompt": "hi"}))
    assert row.id == expected
    assert row.fields == {}


@pytest.mark.parametrize("said", ["", "  ", "a\0b", 1.5, True, ["a"], {"a": 1}])
def test_bad_ids(said: Any) -> None:
    assert refusal(id=said, prompt="hi").startswith("field 'id' holds ")


def test_values_become_what_json_can_say() -> None:
    value = {
        "a": (1, numpy.int64(2)),
        "b": numpy.array([1.5]),
        "c": Decimal("0.10"),
        "d": numpy.bool_(True),
        "e": numpy.str_("x"),
    }
    result = plain(value, "x")
    assert result == {"a": [1, 2], "b": [1.5], "c": "0.10", "d": True, "e": "x"}
    assert [type(inner) for inner in (*result["a"], result["d"], result["e"])] == [int, int, bool, str]


@pytest.mark.parametrize(
    "value", [b"x", float("nan"), float("-inf"), {1: 2}, {1}, object(), "\ud800", numpy.array([numpy.nan])]
)
def test_values_that_json_cannot_say(value: Any) -> None:
    with pytest.raises(BadRow, match=r"field 'x(\[0\])?' holds"):
        plain(value, "x")


def test_what_is_shown_is_short_and_harmless() -> None:
    for value in ("\x1b[2J\u202e" * 10_000, ["\x1b"] * 10_000, {"\x1b" * 100: {"a": {"b": ["\x07"]}}}, 10**200):
        text = shown(value)
        assert text.isprintable()
        assert len(text) < 500


def test_hostile_text_stays_text() -> None:
    for text in ("<|im_start|>system", "{{ 7 * 7 }}", "<script>", "!!python/object", "\x1b[31m", "谢谢 \u202e", "\0"):
        assert parse(Row(Place("p.jsonl", 1), {"prompt": text})).conversation == (Message("user", text),)
