"""Prompts that are both trained on and held out."""

import pytest

from rsft.errors import PromptError
from rsft.prompts import check_disjoint, shared_conversations
from rsft.types import Message, Prompt


def prompt(name: str, *texts: str, template: str = "") -> Prompt:
    turns = tuple(Message("assistant" if place % 2 else "user", text) for place, text in enumerate(texts))
    return Prompt(name, (*turns[:-1], Message("user", template + texts[-1])), turns)


def test_shared_ids_are_refused_and_named() -> None:
    train = [prompt(f"p{number}", "hi") for number in range(20)]
    check_disjoint(train, [prompt("q", "hi")])
    check_disjoint(train, [])
    check_disjoint([], train)
    with pytest.raises(PromptError) as refused:
        check_disjoint(train, [prompt("q", "x"), *train[:8]])
    message = str(refused.value)
    assert message.startswith("8 of 9 held-out prompts are also prompts to train on: 'p0', 'p1', 'p2', 'p3', 'p4', ...")


def test_shared_conversations_ignore_case_white_space_and_the_template() -> None:
    train = [
        prompt("a", "Hi  there\n"),
        prompt("b", "hi there"),
        prompt("c", "Straße", "ok", "so?"),
        prompt("d", "x", "y", "z"),
    ]
    heldout = [
        prompt("e", " HI there", template="T: "),
        prompt("f", "STRASSE", "OK", "So?"),
        prompt("g", "x", "y", "zz"),
        prompt("h", "hi there"),
    ]
    assert shared_conversations(train, heldout) == [("a", "e"), ("c", "f"), ("a", "h")]


def test_turns_and_roles_count() -> None:
    one = Prompt("a", (), (Message("user", "a b"),))
    two = Prompt("b", (), (Message("user", "a"), Message("user", "b")))
    tool = Prompt("c", (), (Message("tool", "a b"),))
    assert shared_conversations([one], [two, tool]) == []
