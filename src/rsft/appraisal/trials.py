"""Replies of which one knows whether they are good: made from references, or labelled by people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rsft.appraisal.altered import altered, values_of
from rsft.errors import PromptError
from rsft.prompts import load_prompts
from rsft.selection.pool import stable_hash
from rsft.types import Prompt, Reply

MEANING = {
    "relevance": "the reference, or another prompt's",
    "relevance_same": "the reference, or that of another prompt of the same kind",
    "consistency": "the reference, or the same with one fact altered",
    "novelty": "the reference, or what was said earlier in the conversation",
    "preference": "the chosen reply, or the rejected one",
    "label": "replies that are labelled good, or bad",
}
_YES, _NO = ("1", "1.0", "true", "yes", "good"), ("0", "0.0", "false", "no", "bad")


@dataclass(frozen=True, slots=True)
class Trial:
    """Good replies and bad ones. If they are `paired`, the two of a pair answer one prompt."""

    name: str
    good: Sequence[Reply]
    bad: Sequence[Reply]
    paired: bool = True


def trials_of(prompts: Sequence[Prompt], seed: int = 0, same: str | None = None) -> list[Trial]:
    """What can be made of prompts with a `reference`: each prompt's own against one that is wrong in a known way.

    `same` names a field: among prompts with the same value there, a wrong reference is harder to tell. Each choice
    hangs on the seed and the prompts alone, not on their order. Trials for which no prompt has what it takes are left
    out. Raises PromptError where no prompt has a reference.
    """
    known = sorted((prompt for prompt in prompts if _reference(prompt)), key=lambda prompt: prompt.id)
    if not known:
        raise PromptError(
            "None of the prompts has a 'reference', a reply that is known to be good, so there is nothing to test "
            "scorers on. Give prompts with one, or rows that are labelled (--labels FILE)."
        )
    values = values_of(known)
    groups: dict[str, list[Prompt]] = {}
    for prompt in known:
        groups.setdefault(_kind(prompt, same), []).append(prompt)
    wrong: Mapping[str, list[tuple[Prompt, str | None]]] = {
        "relevance": [(p, _other(p, known, seed)) for p in known],
        "relevance_same": [(p, _other(p, groups[_kind(p, same)], seed)) for p in known if same],
        "consistency": [(p, altered(_reference(p), p, values, seed)) for p in known],
        "novelty": [(p, _said_before(p)) for p in known],
    }
    made = []
    for name, replies in wrong.items():
        there = [(prompt, text) for prompt, text in replies if text is not None]
        if there:
            good = [Reply(prompt, _reference(prompt)) for prompt, _ in there]
            made.append(Trial(name, good, [Reply(prompt, text) for prompt, text in there]))
    return made


def labelled(file: str, limit: int | None = None) -> list[Trial]:
    """Rows that somebody labelled: `chosen` and `rejected` replies, or a `reply` with a `label`. Raises PromptError."""
    rows = load_prompts(file, limit=limit)
    pairs = [row for row in rows if {"chosen", "rejected"} <= row.fields.keys()]
    single = [row for row in rows if {"reply", "label"} <= row.fields.keys()]
    if len(pairs) + len(single) < len(rows):
        other = next(row for row in rows if row not in pairs and row not in single)
        raise PromptError(
            f"The row '{other.id}' of {file} has neither 'chosen' and 'rejected' nor 'reply' and 'label'; it has "
            f"{', '.join(other.fields) or 'no fields'}."
        )
    made = []
    if pairs:
        good, bad = ([Reply(row, str(row.fields[side])) for row in pairs] for side in ("chosen", "rejected"))
        made.append(Trial("preference", good, bad))
    if single:
        sides: dict[bool, list[Reply]] = {True: [], False: []}
        for row in single:
            sides[_label(row, file)].append(Reply(row, str(row.fields["reply"])))
        made.append(Trial("label", sides[True], sides[False], paired=False))
    return made


def _label(row: Prompt, file: str) -> bool:
    said = str(row.fields["label"]).strip().casefold()
    if said not in _YES + _NO:
        raise PromptError(f"The label of row '{row.id}' of {file} is {said!r}; expected 1 (good) or 0 (bad).")
    return said in _YES


def _kind(prompt: Prompt, same: str | None) -> str:
    return str(prompt.fields.get(same)) if same else ""


def _reference(prompt: Prompt) -> str:
    said: Any = prompt.fields.get("reference")
    return said.strip() if isinstance(said, str) else ""


def _other(prompt: Prompt, among: Sequence[Prompt], seed: int) -> str | None:
    """Another prompt's reference that says something else."""
    others = {_reference(other) for other in among} - {_reference(prompt)}
    return min(others, key=lambda text: stable_hash(seed, prompt.id, text), default=None)


def _said_before(prompt: Prompt) -> str | None:
    """The assistant's turn before, said again a little differently."""
    turns = [turn.content.strip() for turn in prompt.conversation if turn.role == "assistant" and turn.content.strip()]
    if not turns or turns[-1].casefold() == _reference(prompt).casefold():
        return None
    return f"Well, {turns[-1][0].lower()}{turns[-1][1:].rstrip('.!')}."
