"""To how many questions about a reply is the answer yes? Asked of a chat model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from rsft.scorers.judge.asking import Question, question
from rsft.scorers.judge.base import Answer, Judge
from rsft.scorers.judge.verdicts import TEXT, an_object, one_of
from rsft.types import Reply, Score

_Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_TASK = """\
You answer questions about one reply to a conversation, each by itself, with yes or no. Answer by what the reply does, \
not by what it promises or says of itself. Where it is not clearly yes, it is no.

{questions}
"""
_ITEM = an_object({"explanation": TEXT, "answer": one_of(["yes", "no"])})


class Checklist(Judge):
    """The share of yes/no questions about the reply that a chat model answers with yes; the explanation tells the noes.

    The judge explains each answer before it gives it. It is a `server`'s model, a `model` in this process, or the run's
    own base model, the same in all iterations. Replies that hold known tricks against judges score 0 without being
    shown to it; an answer that can't be read, after a second try, is a failed score.
    """

    example: ClassVar[Mapping[str, Any]] = {
        "server": {"url": "http://127.0.0.1:8000/v1", "model": "Qwen/Qwen3-32B"},
        "questions": ["Does the reply answer what was asked?", "Is it friendly?"],
    }

    asks: tuple[_Line, ...] = Field(alias="questions", min_length=1, max_length=50, description="Yes is good.")

    @cached_property
    def _numbered(self) -> dict[str, str]:
        return {f"q{number}": line for number, line in enumerate(self.asks, 1)}

    def questions(self, reply: Reply) -> Sequence[Question] | Score:
        task = _TASK.format(questions="\n".join(f"{key}: {line}" for key, line in self._numbered.items()))
        meaning = '{{"explanation": a text of one sentence, "answer": "yes" or "no"}}, in this order, of {key}'
        form = {key: meaning.format(key=key) for key in self._numbered}
        schema = an_object(dict.fromkeys(self._numbered, _ITEM))
        return [question(task, form, schema, {**self._shown(reply), "reply": reply.text})]

    def verdict(self, answers: Sequence[Answer]) -> Score:
        noes = [key for key in self._numbered if answers[0][key]["answer"] == "no"]
        told = "; ".join(f"no: {self._numbered[key]} ({answers[0][key]['explanation']})" for key in noes)
        return Score(1 - len(noes) / len(self.asks), told)
