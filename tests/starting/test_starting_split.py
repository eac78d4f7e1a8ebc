"""What is held out: no row lost, none on both sides, and nothing that belongs together torn apart."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from rsft.errors import PromptError
from rsft.starting.splitting import split
from rsft.types import Message, Prompt

WORDS = st.text("abcdeé 🙂文\n", min_size=1).filter(lambda text: bool(text.strip()))


def prompt(name: str, *turns: str, **fields: str) -> Prompt:
    said = tuple(Message("assistant" if place % 2 else "user", text) for place, text in enumerate(turns))
    return Prompt(name, said, said, fields)


CONVERSATIONS = st.lists(
    st.tuples(st.lists(WORDS, min_size=1, max_size=3), st.sampled_from(["", "c1", "c2", "c3"])), min_size=2, max_size=30
)


@given(CONVERSATIONS, st.floats(0.01, 0.99))
def test_every_row_is_on_one_side_and_families_stay_together(said: list[tuple[list[str], str]], share: float) -> None:
    prompts = [
        prompt(str(place), *turns, **({"conversation_id": family} if family else {}))
        for place, (turns, family) in enumerate(said)
    ]
    try:
        train, heldout = split(prompts, share)
    except PromptError:
        reject()  # they are all of one conversation
    assert sorted([*train, *heldout]) == list(range(len(prompts)))
    assert train == sorted(train)
    assert heldout == sorted(heldout)
    assert train
    assert heldout
    for one in train:
        for other in heldout:
            assert prompts[one].conversation != prompts[other].conversation
            ids = {prompts[place].fields.get("conversation_id") for place in (one, other)}
            assert len(ids) == 2 or ids == {None}


@given(CONVERSATIONS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(said: list[tuple[list[str], str]], chance: random.Random) -> None:
    prompts = [prompt(str(place), *turns) for place, (turns, _) in enumerate(said)]
    shuffled = prompts[:]
    chance.shuffle(shuffled)
    try:
        _, heldout = split(prompts, 0.3)
    except PromptError:
        with pytest.raises(PromptError):
            split(shuffled, 0.3)
        return
    _, other = split(shuffled, 0.3)
    assert {prompts[place].id for place in heldout} == {shuffled[place].id for place in other}


def test_stretches_of_one_conversation_stay_on_one_side() -> None:
    first = "My parcel of last week is still not here, number {}."
    prompts = []
    for number in range(20):
        turns = [first.format(number), "Let me see.", "Please hurry.", "I do.", "Thanks"]
        prompts += [prompt(f"{number}-{end}", *turns[:end]) for end in (1, 3, 5)]
    train, heldout = split(prompts, 0.2)
    assert len(heldout) == 12
    assert {prompts[place].id.split("-")[0] for place in train}.isdisjoint(
        prompts[place].id.split("-")[0] for place in heldout
    )


def test_a_greeting_alone_makes_no_one_conversation() -> None:
    prompts = [prompt(str(n), "Hi", "Hello, what can I do?", f"Tell me of the order {n}") for n in range(50)]
    train, heldout = split(prompts, 0.1)
    assert (len(train), len(heldout)) == (45, 5)


def test_what_can_not_be_split_is_refused_with_what_to_do() -> None:
    with pytest.raises(PromptError, match="--heldout FILE"):
        split([prompt("a", "Hi"), prompt("b", "hi")], 0.5)
    with pytest.raises(PromptError, match="between 0 and 1"):
        split([prompt("a", "Hi"), prompt("b", "Ho")], 1.5)
