"""Labelling in the browser: one reply after the other, as `rsft label` asks about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from rsft.errors import RunError
from rsft.labelling import Labelling, login, take_back
from rsft.store import RunFolder
from rsft.types import CandidateKey, Purpose, Word
from rsft.web.books import Candidates

_WORDS: dict[str, Word] = {"good": "good", "bad": "bad", "skip": "skipped"}
_UNDO = "undo"


def asked_now(book: Candidates, said: Mapping[str, str]) -> dict[str, Any]:
    """The reply that is asked about now, with its conversation; None where all are labelled. Its scores are not shown:
    who knows them labels by them. Raises a UserError."""
    scorers = list(book.scorers)
    scorer, purpose = _scorer(scorers, said), _purpose(said)
    labelling = Labelling(book.folder, book.frame(scorer), login(), purpose)
    asked = labelling.next()
    prompts = [] if asked is None else book.folder.load_prompts("train", {asked.key.prompt_id})
    return {
        "scorers": scorers,
        "scorer": scorer,
        "purpose": purpose,
        "labeller": labelling.labeller,
        "labelled": labelling.labelled,
        "left": len(labelling.queue),
        "key": None if asked is None else asdict(asked.key),
        "reply": None if asked is None else asked.reply,
        "conversation": [asdict(message) for prompt in prompts for message in prompt.conversation],
        "last": _last(book, purpose),
        "back": None,
        "refused": None,
        "busy": book.folder.writer_pid(),
    }


def say(book: Candidates, run: Path, said: Mapping[str, str]) -> dict[str, Any]:
    """Keep a word on the reply that was shown, or take the last one back; then what is asked now.

    A word on a reply that is not the one that is asked about is nothing: a key was pressed twice, or the page is an old
    one. What can't be written, while somebody else writes to the run say, is `refused` with the reason, and asked about
    again. Raises a UserError for what is no label.
    """
    word, scorer, purpose = said.get("word", ""), _scorer(list(book.scorers), said), _purpose(said)
    if word not in (*_WORDS, _UNDO):
        raise RunError(f"A label is {', '.join(_WORDS)} or {_UNDO}; found {word!r}.")
    frame = book.frame(scorer)
    last = _last(book, purpose) if word == _UNDO else None
    try:
        with RunFolder.open(run, write=True, repair=False) as folder:
            if word == _UNDO:
                take_back(folder, book.iteration, login(), purpose)
            else:
                labelling = Labelling(folder, frame, login(), purpose)
                if labelling.queue and frame.key(labelling.queue[0]) == _key(book.iteration, said):
                    labelling.say(_WORDS[word])
    except RunError as error:
        return asked_now(book, said) | {"refused": str(error)}
    return asked_now(book, said) | {"back": last}


def _last(book: Candidates, purpose: Purpose) -> dict[str, Any] | None:
    """What was said last, and of a reply to what; None if there was nothing."""
    labels = (label for label in reversed(book.folder.labels(iteration=book.iteration)) if label.labeller == login())
    last = next((label for label in labels if label.purpose == purpose), None)
    if last is None:
        return None
    asked = next((one.conversation[-1].content for one in book.folder.load_prompts("train", {last.key.prompt_id})), "")
    return {"word": last.word, "asked": asked}


def _key(iteration: int, said: Mapping[str, str]) -> CandidateKey | None:
    sample = said.get("sample", "")
    if not sample.isdecimal():
        return None
    return CandidateKey(iteration, said.get("id", ""), int(sample), said.get("generator", ""))


def _scorer(scorers: list[str], said: Mapping[str, str]) -> str:
    if not scorers:
        raise RunError("The run has no scorer whose threshold could be calibrated.")
    return said.get("scorer") or scorers[0]


def _purpose(said: Mapping[str, str]) -> Purpose:
    purposes: dict[str, Purpose] = {purpose: purpose for purpose in get_args(Purpose)}
    found = said.get("purpose") or "calibration"
    if found not in purposes:
        raise RunError(f"purpose: expected {' or '.join(purposes)}, found {found!r}.")
    return purposes[found]
