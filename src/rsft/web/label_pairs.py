"""Comparing two policies' replies in the browser, blind: what is asked now, what was said, and what it comes to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rsft.errors import RunError, UserError
from rsft.labelling import login
from rsft.pairing import Outcome, Pairing, Seen, Shown
from rsft.pairs import Pairs, Side, rank, sides
from rsft.reading import handed_back
from rsft.store import BASE, RunFolder

_WORDS: dict[str, Seen] = {"left": "left", "right": "right", "tie": "tie", "skip": "skipped"}
_UNDO = "undo"
_HELD = 4
"""Pairs of policies whose replies are held at once."""


class Desk:
    """Keeps the replies that were compared last: they are read once, not with every key that is pressed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[tuple[Path, str, str], tuple[Any, Pairs]] = {}

    def pairs(self, folder: RunFolder, one: str, other: str) -> Pairs:
        """The replies of two sides of a run as it is now. Raises a UserError."""
        key = (folder.path, one, other)
        # The file too: another run may be put in a run's place.
        written = (folder.ledger.path.stat().st_ino, sides(folder))
        with self._lock:
            held = self._held.pop(key, None)
            if held is None or held[0] != written:
                held = written, Pairs(folder, one, other)
            self._held[key] = held
            while len(self._held) > _HELD:
                self._held.pop(next(iter(self._held)))
        return held[1]


def compared(desk: Desk, run: Path, said: Mapping[str, str]) -> dict[str, Any]:
    """The pair that is asked about now. Where nothing can be compared, `nothing` says why and what to do."""
    with RunFolder.open(run, write=False) as folder:
        try:
            known = sides(folder)
        except UserError as error:
            return {"nothing": str(error)}
        pairs = desk.pairs(folder, *_named(run, known, said))
        return _page(known, pairs, Pairing(folder, pairs, login())) | {"busy": folder.writer_pid()}


def say(desk: Desk, run: Path, said: Mapping[str, str]) -> dict[str, Any]:
    """Keep a word on the pair that was shown, or take the last one back; then what is asked now.

    A word on a pair that is not the one that is asked about is nothing: a key was pressed twice, or the page is an old
    one. What can't be written is `refused`, with the reason, and asked about again. Raises a UserError.
    """
    word = said.get("word", "")
    if word not in (*_WORDS, _UNDO):
        raise RunError(f"What is said of a pair is {', '.join(_WORDS)} or {_UNDO}; found {word!r}.")
    back: Shown | None = None

    def keep(pairing: Pairing) -> None:
        nonlocal back
        if word == _UNDO:
            back = pairing.take_back()
        elif pairing.queue and pairing.queue[0].prompt.id == said.get("id"):
            pairing.say(_WORDS[word])

    found = _writing(desk, run, said, keep)
    return found | {"back": None if back is None else _said(back)}


def show(desk: Desk, run: Path, said: Mapping[str, str]) -> dict[str, Any]:
    """Show what the labels come to, and note that the labeller is not blind from now on. Raises a UserError."""
    return _writing(desk, run, said, lambda pairing: pairing.open())


def _writing(desk: Desk, run: Path, said: Mapping[str, str], work: Callable[[Pairing], object]) -> dict[str, Any]:
    """Have a labeller's words kept by `work`, then what is asked now."""
    with RunFolder.open(run, write=False) as folder:
        known = sides(folder)
        pairs = desk.pairs(folder, *_named(run, known, said))
    refused = None
    try:
        with RunFolder.open(run, write=True, repair=False) as folder:
            work(Pairing(folder, pairs, login()))
    except RunError as error:
        refused = str(error)
    with RunFolder.open(run, write=False) as folder:
        return _page(known, pairs, Pairing(folder, pairs, login())) | {"refused": refused}


def _named(run: Path, known: Mapping[str, Side], said: Mapping[str, str]) -> list[str]:
    """The sides that are asked for, in the order in which results tell of them, whichever was named first: so nothing
    in a page hangs on it. By default the policy that the run hands back, or its last one, and the base."""
    best = sorted(known.values(), key=rank)
    back = next((side.name for side in best if (side.iteration, side.arm) == (handed_back(run), "policy")), BASE)
    one = said.get("one") or (best[0].name if back == BASE else back)
    other = said.get("other") or (BASE if one != BASE else best[0].name)
    return sorted((one, other), key=lambda name: rank(known[name]) if name in known else (True, True, 0))


def _page(known: Mapping[str, Side], pairs: Pairs, pairing: Pairing) -> dict[str, Any]:
    shown = pairing.next
    blind = pairing.outcome()
    return {
        "nothing": None,
        "sides": {name: side.in_words for name, side in known.items()},
        "one": pairs.one.name,
        "other": pairs.other.name,
        "labeller": pairing.labeller,
        "labelled": len(pairing.said),
        "left": len(pairing.queue),
        "prompts": len(pairs.order),
        "equal": len(pairs.order) - len(pairs.asked),
        "id": None if shown is None else shown.pair.prompt.id,
        "replies": None if shown is None else (shown.left, shown.right),
        "conversation": [] if shown is None else [asdict(turn) for turn in shown.pair.prompt.conversation],
        "last": None if pairing.last is None else _said(pairing.last),
        "back": None,
        "refused": None,
        "busy": None,
        "opened": pairing.opened,
        "outcome": _outcome(blind) if pairing.opened else None,
        "in_all": _outcome(pairing.outcome(blind=False)) if pairing.opened else None,
        "verdicts": _verdicts(pairing) if pairing.opened else [],
    }


def _said(shown: Shown) -> dict[str, Any]:
    return {"word": shown.said, "asked": shown.pair.prompt.conversation[-1].content}


def _outcome(found: Outcome) -> dict[str, Any]:
    numbers = {name: getattr(found, name) for name in ("wins", "losses", "ties", "equal", "skipped", "left", "said")}
    return numbers | {"win_rate": asdict(found.win_rate), "p": found.p, "differs": found.differs}


def _verdicts(pairing: Pairing) -> list[dict[str, Any]]:
    """What was said of each pair, the last one first, and whose reply is whose."""
    pairs = pairing.pairs
    of = {pair.keys: pair for pair in pairs.asked}
    found = []
    for keys, said in reversed(pairing.said.items()):
        texts = [of[keys].first.text, of[keys].second.text]
        better = {"first": pairs.first.name, "second": pairs.second.name}.get(said.word)
        asked = of[keys].prompt.conversation[-1].content
        one, other = texts if pairs.first == pairs.one else texts[::-1]
        found.append(
            {"asked": asked, "one": one, "other": other, "better": better, "word": said.word, "blind": said.blind}
        )
    return found
