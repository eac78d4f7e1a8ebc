"""A conversation with one or more speakers: each goes on from its own replies, which come piece by piece."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Literal, NamedTuple

from rsft.engines.base import Engine, Request, Sampling, Watcher, stream_seed
from rsft.errors import PromptError, RunError, UserError
from rsft.models.chat import shorter_and_shorter
from rsft.prompts.framing import Framing
from rsft.prompts.rows import BadRow
from rsft.talking.room import too_little_memory
from rsft.talking.speakers import Speaker
from rsft.types import Candidate, CandidateKey, Ended, Message, Prompt, SamplingParams

STOPPED = "stopped"


class Piece(NamedTuple):
    """A part of a speaker's reply."""

    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class Window:
    """How many tokens a model can read, prompt and reply together, and what counts them."""

    length: int
    count: Callable[[Sequence[Message]], int]


@dataclass(slots=True)
class Reply:
    """A speaker's reply, also while it is written. Of the conversation before it, the oldest turns may have been left
    out: so many."""

    prompt: Prompt
    left_out: int = 0
    text: str = ""
    state: Literal["waiting", "writing", "done"] = "waiting"
    candidate: Candidate | None = None

    @property
    def how(self) -> str:
        """How it ended: stop, length, or stopped; empty before that."""
        if self.state != "done":
            return ""
        return STOPPED if self.candidate is None or not self.candidate.is_reply else self.candidate.finish_reason


@dataclass(slots=True)
class Exchange:
    """A turn of the user's and each speaker's reply to it. `draw` counts how often it was drawn again."""

    said: str
    draw: int
    replies: dict[str, Reply] = field(default_factory=dict)


class Conversation:
    """Turns by turns. `law` is how replies are drawn; with the same seed the same turns get the same replies.

    What a model reads is what the recipe makes of a prompt: `framing` (its template, its system message) is put around
    the conversation, with `fields` for what a template reads. `system` is a message of the user's own. Where there is a
    window, the oldest turns are left out of what doesn't fit.
    """

    def __init__(
        self,
        engine: Engine,
        speakers: Sequence[Speaker],
        law: SamplingParams,
        framing: Framing | None = None,
        *,
        seed: int = 0,
        system: str | None = None,
        fields: Mapping[str, Any] | None = None,
        window: Window | None = None,
    ) -> None:
        self.engine = engine
        self.speakers = list(speakers)
        self.law = law
        self.framing = framing or Framing()
        self.seed = seed
        self.fields = dict(fields or {})
        self.exchanges: list[Exchange] = []
        self._system: str | None = None
        self._window = window
        self._answering: Answering | None = None
        self.system = system

    @property
    def system(self) -> str | None:
        """The user's own system message."""
        return self._system

    @system.setter
    def system(self, text: str | None) -> None:
        if text and self.framing.says_system:
            raise PromptError(
                "The recipe's template writes the system message itself, as in training. Leave your own out, or talk "
                "without what the recipe puts around a conversation (--plain)."
            )
        self._system = text or None

    @property
    def is_answering(self) -> bool:
        return self._answering is not None and self._answering.is_at_work

    def say(self, text: str) -> Answering:
        """A turn of the user's; the replies to it begin. Raises a UserError where the turn can't be put to a model."""
        if not text.strip():
            raise PromptError("There is nothing to say: the turn is empty.")
        return self._answer(self.exchanges, Exchange(text, 0))

    def retry(self) -> Answering:
        """Draw the last replies again. Raises RunError where there is none, or another draw would be the same."""
        last = self.last
        if self.law.temperature == 0:
            raise RunError("At temperature 0 another draw is the same. Talk at a temperature above it.")
        return self._answer(self.exchanges[:-1], Exchange(last.said, last.draw + 1))

    def undo(self) -> str:
        """Take the last turn back, with the replies to it; what it said."""
        self._refuse_while_answering()
        said = self.last.said
        self.exchanges = self.exchanges[:-1]
        return said

    def stop(self) -> None:
        """End the replies that are being written; what there is of them stays."""
        if self._answering is not None:
            self._answering.stop()

    @property
    def last(self) -> Exchange:
        """Raises RunError where nothing was said yet."""
        if not self.exchanges:
            raise RunError("Nothing was said yet.")
        return self.exchanges[-1]

    def turns(self, speaker: str, exchanges: Sequence[Exchange] | None = None) -> tuple[Message, ...]:
        """The conversation as a speaker knows it. A turn that it was stopped at before it said anything, it has not
        heard of."""
        found = [Message("system", self.system)] if self.system else []
        for one in self.exchanges if exchanges is None else exchanges:
            reply = one.replies[speaker]
            if reply.text or reply.how != STOPPED:
                found += [Message("user", one.said), Message("assistant", reply.text)]
        return tuple(found)

    def asked(self, speaker: str) -> tuple[Message, ...]:
        """The conversation as a speaker knew it when it was last asked: the user's turn is its last."""
        last = self.last
        return (*self.turns(speaker, self.exchanges[:-1]), Message("user", last.said))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _answer(self, before: list[Exchange], exchange: Exchange) -> Answering:
        self._refuse_while_answering()
        for speaker in self.speakers:
            turns = (*self.turns(speaker.name, before), Message("user", exchange.said))
            exchange.replies[speaker.name] = self._asked(turns)
        kept, self.exchanges = self.exchanges, [*before, exchange]
        self._answering = Answering(self, exchange, kept)
        return self._answering

    def _refuse_while_answering(self) -> None:
        if self.is_answering:
            raise RunError("The replies to the last turn are still being written. Wait for them, or stop them.")

    def _asked(self, turns: tuple[Message, ...]) -> Reply:
        """A reply that is to be written to these turns, or to as many of them as the model can read."""
        reply: Reply | None = None
        for fewer in shorter_and_shorter(turns):
            reply = Reply(self._framed(fewer), len(turns) - len(fewer))
            if self._fits(reply.prompt):
                break
        assert reply is not None, "the last turn is never left out"
        return reply

    def _fits(self, prompt: Prompt) -> bool:
        window = self._window
        return window is None or window.count(prompt.messages) + self.law.max_tokens <= window.length

    def _framed(self, turns: tuple[Message, ...]) -> Prompt:
        try:
            return self.framing.prompt("chat", turns, self.fields)
        except BadRow as error:
            wanted = [name for name in self.framing.fields if name not in self.fields]
            needs = f" It reads the fields {', '.join(self.framing.fields)}." if self.framing.fields else ""
            given = f" Give them (--field {wanted[0]}=VALUE)," if wanted else " Give others,"
            raise PromptError(
                f"What the recipe puts around a conversation can't be filled in: {error}{needs}{given} or talk without "
                "the recipe's template (--plain)."
            ) from None


class Answering:
    """Replies that are being written, one speaker after the other, in a thread of their own. Iterated, it gives their
    pieces as they come, and raises at the end what went wrong: then the conversation is as it was before."""

    def __init__(self, conversation: Conversation, exchange: Exchange, before: list[Exchange]) -> None:
        self.exchange = exchange
        self.error: BaseException | None = None
        self._conversation = conversation
        self._before = before
        self._pieces: SimpleQueue[Piece | None] = SimpleQueue()
        self._stopped = threading.Event()
        self._sampling: tuple[Sampling, CandidateKey] | None = None
        self._thread = threading.Thread(target=self._work, name="reply", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Piece]:
        while (piece := self._pieces.get()) is not None:
            yield piece
        self.wait()

    @property
    def is_at_work(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Have no further token drawn."""
        self._stopped.set()
        if (at_work := self._sampling) is not None:  # once looked at: it ends in another thread
            sampling, key = at_work
            sampling.cancel(key)

    def wait(self) -> None:
        """Until all is written. Raises what went wrong."""
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        try:
            for speaker in self._conversation.speakers:
                reply = self.exchange.replies[speaker.name]
                if not self._stopped.is_set():
                    self._write(speaker, reply)
                reply.state = "done"
        except BaseException as error:  # for whoever waits
            self.error = too_little_memory(error) or error
            self._conversation.exchanges = self._before
        finally:
            self._pieces.put(None)

    def _write(self, speaker: Speaker, reply: Reply) -> None:
        reply.state = "writing"
        engine, request = self._conversation.engine, self._request(reply.prompt)

        def watcher(text: str, _: int) -> Ended | None:
            self._grow(speaker, reply, text)
            return Ended(STOPPED, "whoever talks to it stopped it") if self._stopped.is_set() else None

        def watch(_: Request) -> Watcher:
            return watcher

        sampling = engine.sample(speaker.policy or engine.base, [request], watch)
        self._sampling = (sampling, request.key)
        with closing(sampling):
            for candidate in sampling:
                reply.candidate = candidate
        self._sampling = None
        if reply.candidate is None or reply.candidate.finish_reason == "failed":
            why = reply.candidate.why if reply.candidate else "the engine gave none"
            raise UserError(f"There is no reply by {speaker.name}: {why}.")
        if reply.candidate.is_reply or len(reply.candidate.text) > len(reply.text):
            self._grow(speaker, reply, reply.candidate.text)
            reply.text = reply.candidate.text

    def _request(self, prompt: Prompt) -> Request:
        talk = self._conversation
        turn, draw = f"turn {len(talk.exchanges)}", self.exchange.draw
        first, seed = (stream_seed(talk.seed, 0, turn, index) for index in (0, draw))
        return Request(CandidateKey(0, prompt.id, draw, "chat"), prompt, seed, talk.law, first)

    def _grow(self, speaker: Speaker, reply: Reply, text: str) -> None:
        if len(text) > len(reply.text):
            self._pieces.put(Piece(speaker.name, text[len(reply.text) :]))
            reply.text = text
