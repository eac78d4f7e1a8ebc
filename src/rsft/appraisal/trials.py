"""Replies of which one knows whether they are good: made from references, or labelled by people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rsft.appraisal.altered import altered, values_of
from rsft.errors import PromptError, nearest
from rsft.prompts import load_prompts
from rsft.prompts.rows import shown
from rsft.selection.pool import stable_hash
from rsft.text import normalise, words
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
_ENDS = " .!?…。！？"


@dataclass(frozen=True, slots=True)
class Trial:
    """Good replies and bad ones. If they are `paired`, the two of a pair answer one prompt."""

    name: str
    good: Sequence[Reply]
    bad: Sequence[Reply]
    paired: bool = True


def with_reference(prompts: Sequence[Prompt], seed: int) -> list[Prompt]:
    """The prompts that have a `reference`, in an order that hangs on the seed alone: the first few are a fair draw."""
    known = (prompt for prompt in prompts if _reference(prompt))
    return sorted(known, key=lambda prompt: (stable_hash(seed, prompt.id), prompt.id))


def trials_of(
    prompts: Sequence[Prompt], seed: int = 0, same: str | None = None, among: Sequence[Prompt] | None = None
) -> list[Trial]:
    """What can be made of prompts with a `reference`: each prompt's own against one that is wrong in a known way.

    `same` names a field: among prompts with the same value there, a wrong reference is harder to tell. Wrong replies
    and values come from the prompts `among` (default: the prompts themselves); a prompt's hang on the seed, on it and
    on these, whichever other prompts are asked, and in whatever order. Trials for which no prompt has what it takes
    are left out. Raises PromptError where no prompt has a reference, or none the field.
    """
    known = sorted((prompt for prompt in prompts if _reference(prompt)), key=lambda prompt: prompt.id)
    if not known:
        raise PromptError(
            "None of the prompts has a 'reference', a reply that is known to be good, so there is nothing to test "
            "scorers on. Give prompts with one, or rows that are labelled (--labels FILE)."
        )
    if same is not None:
        _check_field(same, known)
    pool = known if among is None else [prompt for prompt in among if _reference(prompt)]
    values, texts, alike = values_of(pool), _references(pool), _by_kind(pool, same)
    wrong: Mapping[str, list[tuple[Prompt, str | None]]] = {
        "relevance": [(p, _other(p, texts, seed)) for p in known],
        "relevance_same": [(p, _other(p, alike.get(_kind(p, same), {}), seed)) for p in known],
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
        good, bad = ([Reply(row, _text(row, side, file)) for row in pairs] for side in ("chosen", "rejected"))
        made.append(Trial("preference", good, bad))
    if single:
        sides: dict[bool, list[Reply]] = {True: [], False: []}
        for row in single:
            sides[_label(row, file)].append(Reply(row, _text(row, "reply", file)))
        made.append(Trial("label", sides[True], sides[False], paired=False))
    return made


def _text(row: Prompt, field: str, file: str) -> str:
    said: Any = row.fields[field]
    if not isinstance(said, str):
        raise PromptError(f"'{field}' of row '{row.id}' of {file} is {shown(said)}; expected the text of a reply.")
    return said


def _label(row: Prompt, file: str) -> bool:
    said = str(row.fields["label"]).strip().casefold()
    if said not in _YES + _NO:
        raise PromptError(f"The label of row '{row.id}' of {file} is {said!r}; expected 1 (good) or 0 (bad).")
    return said in _YES


def _check_field(same: str, prompts: Sequence[Prompt]) -> None:
    if not any(_kind(prompt, same) for prompt in prompts):
        fields = sorted({name for prompt in prompts for name in prompt.fields})
        raise PromptError(
            f"None of the prompts with a reference has the field '{same}'.{nearest(same, fields)} "
            f"Their fields are {', '.join(fields)}."
        )


def _kind(prompt: Prompt, same: str | None) -> str:
    value: Any = prompt.fields.get(same) if same else None
    return "" if value is None else str(value)


def _reference(prompt: Prompt) -> str:
    said: Any = prompt.fields.get("reference")
    return said.strip() if isinstance(said, str) else ""


def _references(prompts: Sequence[Prompt]) -> dict[str, str]:
    """What the prompts' references say, each once: by its words, one that says it."""
    found: dict[str, str] = {}
    for text in map(_reference, prompts):
        said = _saying(text)
        found[said] = min(text, found.get(said, text))
    return found


def _by_kind(prompts: Sequence[Prompt], same: str | None) -> dict[str, dict[str, str]]:
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        if kind := _kind(prompt, same):
            groups.setdefault(kind, []).append(prompt)
    return {kind: _references(group) for kind, group in groups.items()}


def _other(prompt: Prompt, texts: Mapping[str, str], seed: int) -> str | None:
    """One of the references that says something else than the prompt's own."""
    own = _saying(_reference(prompt))
    others = (said for said in texts if said != own)
    least = min(others, key=lambda said: stable_hash(seed, prompt.id, said), default=None)
    return None if least is None else texts[least]


def _said_before(prompt: Prompt) -> str | None:
    """The assistant's turn before, said again a little differently: another beginning, case and end."""
    turns = [turn.content.strip() for turn in prompt.conversation if turn.role == "assistant" and turn.content.strip()]
    bare = turns[-1].rstrip(_ENDS) if turns else ""
    if not bare or _saying(bare) == _saying(_reference(prompt)):
        return None
    greeting, end = ("Well, ", ".") if bare[0].lower() != bare[0].upper() else ("", "!")
    return f"{greeting}{bare[0].lower()}{bare[1:]}{end}"


def _saying(text: str) -> str:
    """A text without case, accents, punctuation and spaces: what it says, but for how it is written."""
    return " ".join(words(normalise(text))) or text
