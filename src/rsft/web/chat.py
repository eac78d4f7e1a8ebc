"""The one conversation that the pages hold: loaded when somebody asks for it, in a thread, and given back likewise."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsft.errors import RsftError, RunError
from rsft.talking import Answering, Exchange, Judged, Talk, Wish, open_talk
from rsft.web.offer import typed

_CLOSE_SECONDS = 5.0
"""How long a reply may take to leave off when the server ends."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be loaded: models of a run, by its name in addresses, for a conversation as it is wished for."""

    name: str
    run: Path
    wish: Wish


class Chat:
    """What is loaded, and how far it is. Asked from any thread; only one thing is done at a time."""

    def __init__(self) -> None:
        self._turns = threading.RLock()
        self._wanted: Load | None = None
        self._talk: Talk | None = None
        self._doing: tuple[str, threading.Thread] | None = None
        self._judged: Sequence[Judged] = ()
        self._error = self._error_of = ""
        self._unsaid = ""
        self._one_load = threading.Lock()  # one that was given up comes to its end first

    # -- what can be done --------------------------------------------------------------------------------------------

    def load(self, wanted: Load) -> None:
        """Begin to load what is wanted, in place of what is loaded."""
        self.unload()
        with self._turns:
            if self._talk is not None or self._doing is not None:
                raise RunError("Models are being loaded already, from another page.")
            self._wanted = wanted
            self._do("loading", lambda: self._load(wanted))

    def unload(self) -> None:
        """Give the memory back. A load that is going on is given up: its end is not waited for."""
        with self._turns:
            doing, talk = self._doing, self._talk
            if doing is not None and doing[0] == "scoring":
                raise RunError("Scorers are at work on the last replies. Wait for them, and unload then.")
            if doing is not None and doing[0] == "loading":
                self._doing = None
            self._talk = self._wanted = None
            self._judged, self._error, self._unsaid = (), "", ""
        if talk is not None:
            talk.conversation.stop()
            if doing is not None:
                doing[1].join()
            talk.close()

    def say(self, name: str, text: str) -> None:
        """Have a turn answered. What could not be answered is handed back with the reason."""
        with self._turns:
            talk = self._free(name)
            self._unsaid = text
            self._answer(name, lambda: talk.conversation.say(text))

    def retry(self, name: str) -> None:
        """Have the last turn answered by another draw."""
        with self._turns:
            self._answer(name, self._free(name).conversation.retry)

    def stop(self, name: str) -> None:
        """End the replies where they are."""
        self._of(name).conversation.stop()

    def undo(self, name: str) -> None:
        """Take the last turn back, into the field."""
        with self._turns:
            talk = self._free(name)
            try:
                self._unsaid = talk.conversation.undo()
            except RsftError as error:
                self.tell(name, str(error))

    def set(self, name: str, fields: Mapping[str, Any], system: str | None) -> None:
        """Give the conversation other fields, and another system message, from the next turn on."""
        with self._turns:
            conversation = self._free(name, forget=False).conversation
            conversation.fields, conversation.system = dict(fields), system
            self._error = ""

    def score(self, name: str) -> None:
        """Have the run's scorers judge the last replies."""
        with self._turns:
            talk = self._free(name)
            exchanges = talk.conversation.exchanges
            replies = dict(exchanges[-1].replies) if exchanges else {}
            self._do("scoring", lambda: self._score(talk, replies))

    def tell(self, name: str, error: str) -> None:
        """Have a run's page say what was wrong with what it asked for."""
        self._error, self._error_of = error, name

    def close(self) -> None:
        """The server ends."""
        with self._turns:
            talk, doing = self._talk, self._doing
            self._talk = self._wanted = None
        if talk is not None:
            talk.conversation.stop()
            if doing is not None:
                doing[1].join(_CLOSE_SECONDS)
            talk.close()

    # -- what is shown -----------------------------------------------------------------------------------------------

    def shown(self) -> dict[str, Any]:
        """What is loaded and said now, for a page; `version` is another whenever something of it is."""
        with self._turns:
            doing = self._doing[0] if self._doing is not None else ""
            talk, wanted = self._talk, self._wanted
            said: dict[str, Any] = {
                "loaded": wanted.name if wanted is not None and (talk is not None or doing) else "",
                "loading": doing == "loading",
                "busy": doing,
                "error": self._error,
                "error_of": self._error_of,
                "unsaid": self._unsaid if not doing else "",
                "speakers": [one.name for one in talk.conversation.speakers] if talk is not None else [],
                "exchanges": [_exchange(one) for one in talk.conversation.exchanges] if talk is not None else [],
                "judged": {one.speaker: _judged(one) for one in self._judged},
                **(_set(talk, self._judged) if talk is not None else {}),
                "greedy": talk is not None and talk.conversation.law.temperature == 0,
            }
        version = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]
        return {**said, "version": version}

    # -- inside ------------------------------------------------------------------------------------------------------

    def _of(self, name: str) -> Talk:
        """The conversation of a run. Raises RunError where there is none."""
        if self._talk is None or self._wanted is None or self._wanted.name != name:
            raise RunError("There is no conversation with this run now. Load its models first, on the page Chat.")
        return self._talk

    def _free(self, name: str, *, forget: bool = True) -> Talk:
        """The same, with nothing going on in it; what was said of the last turn is forgotten if so asked."""
        talk = self._of(name)
        if self._doing is not None:
            raise RunError(f"It is {self._doing[0]} still. Wait for it, or stop it.")
        if forget:
            self._judged, self._error, self._unsaid = (), "", ""
        return talk

    def _answer(self, name: str, begin: Callable[[], Answering]) -> None:
        try:
            answering = begin()
        except RsftError as error:
            self.tell(name, str(error))
        else:
            self._do("answering", answering.wait)

    def _do(self, what: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._run, args=(work,), name=f"chat {what}", daemon=True)
        self._doing = (what, thread)
        thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        error = ""
        try:
            work()
        except RsftError as raised:
            error = str(raised)
        except Exception as raised:  # a page that waits for ever would say less
            error = f"This went wrong, and should not have: {type(raised).__name__}: {raised}"
        with self._turns:
            if self._doing is None or self._doing[1] is not threading.current_thread():
                return  # it was given up
            what, self._doing = self._doing[0], None
            self.tell(self._wanted.name if self._wanted is not None else "", error)
            if what == "answering" and not error:
                self._unsaid = ""
            if what == "loading" and error:
                self._talk = None

    def _load(self, wanted: Load) -> None:
        with self._one_load:
            if self._wanted is not wanted:
                return
            talk = open_talk(wanted.run, wanted.wish)
            with self._turns:
                if self._wanted is wanted:
                    self._talk = talk
                    return
            talk.close()

    def _score(self, talk: Talk, replies: Mapping[str, Any]) -> None:
        judged = talk.judging.judged(replies)
        with self._turns:
            if self._talk is talk:
                self._judged = judged


def _set(talk: Talk, judged: Sequence[Judged]) -> dict[str, Any]:
    """What a conversation's fields and system message are; and the fields that somebody missed, empty."""
    conversation = talk.conversation
    wanted = [*conversation.framing.fields, *(need for one in judged for need in one.needs)]
    given = {name: typed(conversation.fields.get(name)) for name in (*conversation.fields, *wanted)}
    return {"given": given, "system": conversation.system or "", "says_system": conversation.framing.says_system}


def _exchange(one: Exchange) -> dict[str, Any]:
    replies = [
        {"speaker": name, "text": reply.text, "state": reply.state, "how": reply.how, "left_out": reply.left_out}
        for name, reply in one.replies.items()
    ]
    return {"said": one.said, "draw": one.draw, "replies": replies}


def _judged(one: Judged) -> dict[str, Any]:
    scores = [
        {
            "name": name,
            "value": score.value,
            "why": score.explanation if score.failure is None else score.failure,
            "held_out": name in one.heldout_scores,
        }
        for name, score in one.all_scores.items()
    ]
    said = {"verdict": one.verdict, "rule": one.rule, "explanation": one.explanation}
    return {**said, "scores": scores, "needs": list(one.needs)}
