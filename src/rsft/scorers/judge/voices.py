"""Who answers as the judge: a server's model, or one in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from rsft.scorers.judge.asking import Question
from rsft.servers import Endpoint, Refused, Server, Unanswered
from rsft.servers.chat import answer

if TYPE_CHECKING:
    from rsft.models.answering import Answering

# What a refusal speaks of that is about the form of the answer.
_ABOUT_THE_FORM = ("response_format", "json_schema", "schema", "structured", "guided", "grammar")


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer, and why."""

    why: str


class Voice(Protocol):
    def say(self, questions: Sequence[Question]) -> list[str | Silence]:
        """The answer to each question, in order. Raises a UserError where there will be no more answers."""


class ServerVoice:
    """A chat model behind a server, which is asked all questions at once.

    What the server refuses to be told, it is not told again: `response_format`, where it knows no structured answers;
    and `max_tokens` where it wants that to be called `max_completion_tokens`.
    """

    def __init__(self, endpoint: Endpoint, max_tokens: int, *, structured: bool) -> None:
        self.endpoint = endpoint
        self.structured = structured
        self._limit = {"max_tokens": max_tokens}

    @cached_property
    def server(self) -> Server:
        return Server(self.endpoint)

    def say(self, questions: Sequence[Question]) -> list[str | Silence]:
        return self.server.finish(self._all(questions))

    async def _all(self, questions: Sequence[Question]) -> list[str | Silence]:
        return list(await asyncio.gather(*map(self._one, questions)))

    async def _one(self, question: Question) -> str | Silence:
        turns = [{"role": turn.role, "content": turn.content} for turn in question.messages]
        while True:
            law = self._law(question)
            try:
                return await answer(self.server, turns, **law)
            except Unanswered as error:
                if not self._learns(error, law):
                    return Silence(str(error))

    def _law(self, question: Question) -> dict[str, Any]:
        law: dict[str, Any] = {"temperature": question.temperature, "seed": question.seed, **self._limit}
        if self.structured:
            schema = {"name": "verdict", "strict": True, "schema": question.schema}
            law["response_format"] = {"type": "json_schema", "json_schema": schema}
        return law

    def _learns(self, error: Unanswered, law: dict[str, Any]) -> bool:
        """Whether the request was refused for something that can be left out, or said in another way, from now on."""
        if not isinstance(error, Refused):
            return False
        if "max_tokens" in law and "max_completion_tokens" in str(error):
            self._limit = {"max_completion_tokens": law["max_tokens"]}
            return True
        if "response_format" in law and any(word in str(error) for word in _ABOUT_THE_FORM):
            self.structured = False
            return True
        return False


class LocalVoice:
    """A chat model in this process."""

    def __init__(self, model: Answering, max_tokens: int) -> None:
        self.model = model
        self._max_tokens = max_tokens

    def say(self, questions: Sequence[Question]) -> list[str | Silence]:
        from rsft.models.answering import Asked

        asked = [Asked(one.messages, one.seed, one.temperature) for one in questions]
        room = self.model.room_for(asked)
        fits = [place for place, left in enumerate(room) if left > 0]
        said: list[str | Silence] = [Silence("the question does not fit the judge's context")] * len(asked)
        for place, text in zip(fits, self.model.answers([asked[i] for i in fits], self._max_tokens), strict=True):
            said[place] = text
        return said
