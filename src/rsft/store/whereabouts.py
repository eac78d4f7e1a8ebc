"""Where a run's segments lie. The ledger notes it: whoever reads the run folder, or a copy of it, finds them."""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path
from typing import Any

from rsft import failpoints
from rsft.errors import RunError
from rsft.store.ledger import Ledger
from rsft.store.places import Local, Place, place_at

SHARED_KINDS = ("candidates", "scores", "decisions")
"""The kinds of segments that shared storage holds, where a run keeps its segments there."""

_META = "segments"
_MARK = "writer"  # the file that says who wrote there last


class Whereabouts:
    """The places of a run folder's segments.

    Who writes to shared storage marks it, with a word that only this ledger knows: a copy of the run folder that wrote
    there since has another one, and must not remove what this one's ledger does not name, nor the other way around.
    """

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self._path = path
        self._ledger = ledger
        self._home = Local(path)
        self._shared = self._noted_place()

    def of(self, kind: str) -> Place:
        """Where segments of a kind lie."""
        return self._shared if self._shared is not None and kind in SHARED_KINDS else self._home

    def begin(self, url: str | None) -> None:
        """Keep this run's segments at a URL, or in the run folder, from the first one on. Raises RunError where that
        can't be written, read and listed, or where the run has segments elsewhere."""
        noted = self._noted()
        if noted.get("url") == url:
            pass  # it was begun before, and did not come far
        elif self._holds_any():
            raise RunError(f"The segments of {self._path} are kept at {noted.get('url', self._path)} for good.")
        elif url is None:
            self._ledger.drop_meta(_META)
        else:
            self._note({"url": url, "id": _name(self._path)})
        self._shared = self._noted_place()
        if self._shared is not None:
            _try_out(self._shared)
            self.take()

    def take(self) -> None:
        """Mark the shared storage: this run folder writes there now. Raises RunError where another copy of it wrote
        there since, or where nothing of this run is there."""
        if self._shared is None:
            return
        noted, word = self._noted(), secrets.token_hex(8)
        found = _marked(self._shared)
        where = self._shared.named("")
        if found is None and self._holds_any():
            raise RunError(
                f"{where} holds nothing of this run, and the ledger of {self._path} says that its segments are there. "
                "Is this the right store (its endpoint, its keys), or is the disk not mounted? Go on with rsft resume."
            )
        if found is not None and found not in (noted.get("mark"), noted.get("next")):
            raise RunError(
                f"Another copy of the run folder {self._path} has written to {where} since: go on with that one. From "
                "this one, start another run that takes over what can still be read (rsft run RECIPE --fork)."
            )
        # Noted before it is there: whatever a crash leaves, one of the two words is the mark.
        self._note({**noted, "next": word})
        failpoints.reached("store.noted")
        self._shared.put(_MARK, lambda aside: _say(aside, word), before=lambda: None)
        failpoints.reached("store.marked")
        self._note({**noted, "mark": word})

    def _holds_any(self) -> bool:
        return any(self._ledger.scopes(kind) for kind in SHARED_KINDS)

    def _noted_place(self) -> Place | None:
        noted = self._noted()
        return place_at(noted["url"], noted["id"]) if noted else None

    def _noted(self) -> dict[str, Any]:
        return dict(json.loads(self._ledger.meta(_META) or "{}"))

    def _note(self, said: dict[str, Any]) -> None:
        self._ledger.set_meta(_META, json.dumps(said))


def _name(run: Path) -> str:
    """What a run's folder is called in shared storage: never as any other's, also where folders are called alike."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", run.absolute().name).strip("-")[:40]
    return f"{readable or 'run'}-{secrets.token_hex(6)}"


def _marked(place: Place) -> str | None:
    try:
        return place.text(_MARK)
    except FileNotFoundError:
        return None


def _try_out(place: Place) -> None:
    """Raise RunError where a place can't be written, read, listed and removed from."""
    name, word = f"trial-{secrets.token_hex(4)}", secrets.token_hex(8)
    place.put(name, lambda aside: _say(aside, word), before=lambda: None)
    try:
        there = place.text(name) == word and name in place.names("")
    except FileNotFoundError:
        there = False
    place.remove(name)
    if not there:
        raise RunError(f"{place.named(name)} was written, and can't be found there: segments can't be kept at it.")


def _say(path: Path, word: str) -> None:
    path.write_text(word, encoding="utf-8")
