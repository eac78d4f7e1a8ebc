"""Some conversations held out, so that none of them, nor another stretch of it, is trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from rsft.errors import PromptError
from rsft.starting.columns import CONVERSATION_IDS
from rsft.text import normalise, words
from rsft.types import Prompt

# Turns are read until a beginning has so many words: that two talks begin with "Hi" makes them no one talk.
_WORDS_OF_A_BEGINNING = 8


def split(prompts: Sequence[Prompt], share: float) -> tuple[list[int], list[int]]:
    """The places of the prompts to train on, and of those held out, each in order. Every place is in one of the two.

    Prompts that share a conversation's id or beginning stay on one side. Which are held out hangs on what they say, and
    not on their order. About `share` of all is held out, at least one and not all. Raises PromptError where that can't
    be, or for a share that is none.
    """
    if not 0 < share < 1:
        raise PromptError(f"The held-out share is {share:g}; expected a number between 0 and 1, such as 0.1.")
    families = _families(prompts)
    if len(families) < 2:
        raise PromptError(
            f"The {len(prompts)} rows can't be split: they are of one conversation, or there is but one. "
            "Name a file of other conversations: --heldout FILE."
        )
    wanted = min(max(1, round(share * len(prompts))), len(prompts) - 1)
    heldout: set[int] = set()
    for family in families:
        if len(heldout) + len(family) <= wanted:
            heldout.update(family)
    if not heldout:  # each is larger than the share
        smallest: list[int] = min(families, key=len)
        heldout.update(smallest)
    return [place for place in range(len(prompts)) if place not in heldout], sorted(heldout)


def _families(prompts: Sequence[Prompt]) -> list[list[int]]:
    """The places of prompts that belong together, in an order that hangs on what they say alone."""
    parents = list(range(len(prompts)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    first: dict[tuple[str, str], int] = {}
    for place, prompt in enumerate(prompts):
        for key in _keys(prompt):
            parents[root(place)] = root(first.setdefault(key, place))
    together: dict[int, list[int]] = {}
    for place in range(len(prompts)):
        together.setdefault(root(place), []).append(place)
    digests = {number: min(_digest(prompts[place]) for place in family) for number, family in together.items()}
    return [together[number] for number in sorted(together, key=lambda number: digests[number])]


def _keys(prompt: Prompt) -> list[tuple[str, str]]:
    """What the prompts of one conversation have in common."""
    ids: Mapping[str, object] = prompt.fields
    named = [(name, str(ids[name])) for name in CONVERSATION_IDS if ids.get(name) not in (None, "")]
    return [*named, ("beginning", _beginning(prompt))]


def _beginning(prompt: Prompt) -> str:
    """The first turns, as many as it takes to tell a conversation; system messages are many conversations' own."""
    said: list[str] = []
    for turn in prompt.conversation:
        if turn.role == "system":
            continue
        said.append(normalise(turn.content))
        if len(words(" ".join(said))) >= _WORDS_OF_A_BEGINNING:
            break
    return "\0".join(said)


def _digest(prompt: Prompt) -> str:
    turns = "\0".join(normalise(turn.content) for turn in prompt.conversation)
    return hashlib.sha256(turns.encode("utf-8")).hexdigest()
