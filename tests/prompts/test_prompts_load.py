"""Loading: ids, limits, system messages, several mistakes at once, and round trips."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rsft.prompts
from rsft.errors import PromptError
from rsft.prompts import load_prompts
from rsft.prompts.columns import parse
from rsft.prompts.rows import BadRow, Place, Row
from rsft.types import Message, Prompt

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)
TURN = st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), TEXT)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
RESERVED = {"id", "messages", "prompt", "conversations", "instruction"}
FIELDS = st.dictionaries(TEXT.filter(lambda name: name not in RESERVED), JSON, max_size=3)


def refusal(source: Any, **said: Any) -> str:
    with pytest.raises(PromptError) as refused:
        load_prompts(source, **said)
    return str(refused.value)


def ids(source: Any) -> list[str]:
    return [prompt.id for prompt in load_prompts(source)]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.lists(TURN, max_size=3), TEXT, FIELDS), min_size=1, max_size=4), escaped=st.booleans()
)
def test_what_is_written_is_loaded(tmp_path_factory: pytest.TempPathFactory, rows: Any, escaped: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.jsonl"
    conversations = [tuple(Message(*turn) for turn in [*turns, ("user", last)]) for turns, last, _ in rows]
    with path.open("w", encoding="utf-8") as file:
        for number, (turns, (*_, fields)) in enumerate(zip(conversations, rows, strict=True)):
            row = {"id": number, "messages": [{"role": turn.role, "content": turn.content} for turn in turns], **fields}
            file.write(json.dumps(row, ensure_ascii=escaped) + "\n")
    prompts = load_prompts(str(path))
    assert [prompt.messages for prompt in prompts] == conversations
    assert [prompt.conversation for prompt in prompts] == conversations
    assert [dict(prompt.fields) for prompt in prompts] == [fields for *_, fields in rows]
    assert [prompt.id for prompt in prompts] == [str(number) for number in range(len(rows))]


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.sampled_from("abc"), min_size=1, max_size=6), data=st.data())
def test_ids_do_not_depend_on_the_order(tmp_path_factory: pytest.TempPathFactory, texts: list[str], data: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "order.jsonl"

    def named(order: list[str]) -> list[tuple[str, str]]:
        path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in order), encoding="utf-8")
        return sorted((prompt.id, prompt.messages[0].content) for prompt in load_prompts(str(path)))

    assert named(texts) == named(data.draw(st.permutations(texts)))
    assert len({name for name, _ in named(texts)}) == len(texts)


@settings(max_examples=100, deadline=None)
@given(form=st.sampled_from(sorted(RESERVED)), value=JSON, key=st.sampled_from(["role", "from"]), inner=JSON)
def test_whatever_a_row_holds_it_is_a_prompt_or_refused(form: str, value: Any, key: str, inner: Any) -> None:
    turn = {key: "user", "content": inner, "value": inner}
    for row in ({form: value}, {form: [turn, value]}, {form: [turn], "id": value}, {"prompt": "hi", form: value}):
        why = "it is a prompt"
        try:
            parse(Row(Place("p.jsonl", 1), row))
        except BadRow as error:
            why = str(error)
        assert why.isprintable()


def test_ids_of_rows_without_one(write: Any) -> None:
    row = {"prompt": "hi", "facts": {"a": 1, "b": 2}}
    (name,) = ids(write("a.jsonl", row))
    assert len(name) == 16
    assert ids(write("b.json", [{"facts": {"b": 2, "a": 1}, "prompt": "hi"}])) == [name], "the order of keys is nothing"
    assert ids(write("c.jsonl", {"prompt": "other"}, row, row, row))[1:] == [name, f"{name}-2", f"{name}-3"]
    assert ids(write("d.jsonl", row | {"x": 1})) != [name]
    assert ids(write("e.jsonl", row, row | {"id": name}, row | {"id": "mine"})) == [f"{name}-2", name, "mine"]


def test_ids_of_content_stay_the_same_between_versions(write: Any) -> None:
    assert ids(write("a.jsonl", {"prompt": "Grüße, 谢谢", "n": 1.5})) == ["32b9d0395cfc7187"]


def test_duplicate_ids_name_both_places(write: Any) -> None:
    a = write("a.jsonl", {"prompt": "hi", "id": 1}, {"prompt": "ho", "id": "1"})
    assert refusal(a) == f"{a}, line 2: field 'id' holds '1', as does {a}, line 1; expected unique ids"
    b = write("b.json", [{"prompt": "other", "id": "1"}])
    c = write("c.jsonl", {"prompt": "hi", "id": 1})
    assert refusal([c, b]) == f"{b}, row 1: field 'id' holds '1', as does {c}, line 1; expected unique ids"


def test_sources_are_concatenated_and_limited(write: Any) -> None:
    a = write("a.jsonl", {"prompt": "1"}, {"prompt": "2"})
    b = write("b.csv", "prompt", "3", "4")
    assert [prompt.messages[0].content for prompt in load_prompts([a, b])] == ["1", "2", "3", "4"]
    assert [prompt.messages[0].content for prompt in load_prompts([a, b], limit=3)] == ["1", "2", "3"]
    assert len(load_prompts([a, b], limit=9)) == 4


def test_later_rows_than_the_limit_are_not_read(write: Any) -> None:
    source = write("a.jsonl", {"prompt": "1"}, "{")
    assert len(load_prompts(source, limit=1)) == 1
    assert "line 2" in refusal(source, limit=2)
    assert refusal(source, limit=0) == "The limit of prompts is 0; expected 1 or more."


def test_each_source_must_hold_a_row(write: Any) -> None:
    a, b = write("a.jsonl", {"prompt": "1"}), write("b.jsonl", "")
    assert refusal([a, b]) == f"{b}: holds no rows; expected at least one prompt"


def test_several_mistakes_are_one_message(write: Any) -> None:
    a = write("a.jsonl", *({"prompt": ""} for _ in range(4)), {"prompt": "fine"})
    b = write("b.jsonl", *({"text": "x"} for _ in range(4)))
    lines = refusal([a, b]).splitlines()
    assert lines[0] == "There are 8 mistakes in the prompts:"
    assert lines[1] == f"  - {a}, line 1: field 'prompt' holds ''; expected a conversation that is not empty"
    assert lines[5].startswith(f"  - {b}, line 1: no column holds a conversation")
    assert lines[6:] == ["  ... and 3 more"]


def test_a_system_message_is_added_where_there_is_none(write: Any) -> None:
    old = [{"role": "system", "content": "Be long."}, {"role": "user", "content": "hi"}]
    source = write("a.jsonl", {"prompt": "hi"}, {"messages": old})
    first, second = load_prompts(source, system="Be brief.")
    assert first.messages == (Message("system", "Be brief."), Message("user", "hi"))
    assert first.conversation == (Message("user", "hi"),)
    assert second.messages == (Message("system", "Be long."), Message("user", "hi"))
    assert "is blank" in refusal(source, system=" \n")
    assert "said twice" in refusal(source, system="x", template={"system": "y"})
    both = load_prompts(source, system="x", template={"user": "y"})
    assert [prompt.messages[0].content for prompt in both] == ["x", "Be long."]


def test_messages_of_mistakes_are_safe_to_print(write: Any) -> None:
    name = "\x1b[31m\u202e" * 30
    source = write(
        "a.jsonl", {name: "x"}, {"messages": [{"role": name, "content": "x"}]}, {"prompt": "x", "id": [name]}
    )
    assert all(line.isprintable() for line in refusal(source).splitlines())


def test_prompts_are_values(write: Any) -> None:
    source = write("a.jsonl", {"id": "a", "prompt": "hi", "answer": None})
    turns = (Message("user", "hi"),)
    assert load_prompts(source) == [Prompt("a", turns, turns, {"answer": None})]


def test_the_bundled_conversations() -> None:
    prompts = load_prompts(str(Path(rsft.prompts.__file__).parents[1] / "data" / "shop.train.jsonl.gz"))
    assert len(prompts) == 280
    assert set(prompts[0].fields) == {"intent", "facts", "reference"}


def test_public_names() -> None:
    assert rsft.prompts.__all__ == [
        "Column", "check_disjoint", "load_prompts", "load_rows", "prompts_of", "shared_conversations",
    ]  # fmt: skip


def test_heavy_libraries_are_loaded_where_they_are_needed(write: Any) -> None:
    heavy = ("pyarrow", "datasets", "jinja2", "numpy", "torch", "transformers")
    code = f"""
import sys
from rsft.prompts import load_prompts
from rsft.prompts.columns import parse
from rsft.prompts.rows import BadRow, Place, Row
load_prompts({write("a.jsonl", {"prompt": "hi"})!r})
print([name for name in {heavy} if name in sys.modules])
"""
    source = Path(rsft.prompts.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(source)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
