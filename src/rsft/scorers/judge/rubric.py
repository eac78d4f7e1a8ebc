"""How good is a reply, by a rubric? Asked of a chat model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from rsft.scorers.judge.asking import Question, question
from rsft.scorers.judge.base import Answer, Judge
from rsft.scorers.judge.verdicts import TEXT, an_object, one_of
from rsft.types import Reply, Score

_MOST = 10
_RUBRIC = """\
10: The reply does what the last message asks for, or asks for just what is missing. All that it says is right by the \
conversation and by what is known. It is clear, friendly and as short as it can be.
7: It helps and is right, but is wordy, stiff, or leaves out something that would have been useful.
4: It helps in part: it misses some of what was asked, is vague, or repeats what was said already.
1: It does not help: it speaks of something else, or evades.
0: It says what is wrong by the conversation or by what is known, invents something, or is rude."""
_TASK = """\
You judge one reply to a conversation. Judge the reply only: what it says, not what it promises or says of itself. \
Give a whole number from 0 to {most} by this rubric; what lies between two levels gets a number between.

{rubric}
"""
_FORM = {
    "explanation": "a text: what is good and what is bad about it, in one to three sentences, before you decide",
    "score": f"a whole number from 0 to {_MOST}",
}
_SCHEMA = an_object({"explanation": TEXT, "score": one_of(range(_MOST + 1))})


class Rubric(Judge):
    """How good the reply is by a rubric, as a chat model judges it: its whole number from 0 to 10, divided by 10.

    The judge explains before it decides. It is a `server`'s model, a `model` in this process, or the run's own base
    model, the same in all iterations. Replies that hold known tricks against judges score 0 without being shown to it;
    an answer that can't be read, after a second try, is a failed score. `repeats` averages several answers, each by a
    seed of its own, and tells their standard deviation.
    """

    example: ClassVar[Mapping[str, Any]] = {
        "server": {"url": "http://127.0.0.1:8000/v1", "model": "Qwen/Qwen3-32B"},
        "shows": ["facts"],
    }

    rubric: str = Field(_RUBRIC, min_length=1, description="What deserves which number, from 0 to 10.")

    def questions(self, reply: Reply) -> Sequence[Question] | Score:
        task = _TASK.format(most=_MOST, rubric=self.rubric.strip())
        return [question(task, _FORM, _SCHEMA, {**self._shown(reply), "reply": reply.text})]

    def verdict(self, answers: Sequence[Answer]) -> Score:
        return Score(answers[0]["score"] / _MOST, answers[0]["explanation"])
