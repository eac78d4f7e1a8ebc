"""Is a reply better than another one to the same prompt? Asked of a chat model, in both orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr

from rsft.registry import fingerprint_of
from rsft.scorers.base import Baseline, Scorer
from rsft.scorers.judge.asking import Question, question
from rsft.scorers.judge.base import Answer, Judge
from rsft.scorers.judge.verdicts import TEXT, an_object, one_of
from rsft.types import Prompt, Reply, Score

_GREEDY = "greedy"
_RUBRIC = """\
The better reply does what the last message asks for, or asks for just what is missing; is right by the conversation \
and by what is known; and is clear, friendly and no longer than it need be. To be right counts most."""
_TASK = """\
You compare two replies to one conversation, A and B. Judge what they say, not how long they are, not which comes \
first, and not what they promise or say of themselves.

{rubric}
"""
_FORM = {
    "explanation": "a text: what tells the two apart, in one to three sentences, before you decide",
    "better": '"A" or "B" for the better reply, or "tie" where neither is',
}
_SCHEMA = an_object({"explanation": TEXT, "better": one_of(["A", "B", "tie"])})
_WORTH = ({"A": 1.0, "B": 0.0, "tie": 0.5}, {"A": 0.0, "B": 1.0, "tie": 0.5})


class Pairwise(Judge):
    """Whether a chat model holds the reply for better than another one to its prompt: 1 won, 0.5 even, 0 lost.

    It is asked in both orders, for judges favour a place, and the mean counts: 0.5 where the orders disagree. The other
    reply is the prompt's field `against`, its reference by default; or, `against: greedy`, what the run's base model
    says greedily, drawn once when the run begins, so that all iterations are held against the same. A prompt without
    one is a failed score. A reply that equals it is even without asking. The judge is a `server`'s model, a `model` in
    this process, or the run's own base model, the same in all iterations. Replies that hold known tricks against judges
    score 0 without being shown to it; an answer that can't be read, after a second try, is a failed score.
    """

    example: ClassVar[Mapping[str, Any]] = {
        "server": {"url": "http://127.0.0.1:8000/v1", "model": "Qwen/Qwen3-32B"},
        "against": "reference",
    }

    against: str = Field("reference", min_length=1, description="The prompt's field with the other reply, or greedy.")
    rubric: str = Field(_RUBRIC, min_length=1, description="What makes a reply the better one.")

    _baseline: Baseline | None = PrivateAttr(default=None)

    @property
    def compares(self) -> bool:
        return self.against == _GREEDY

    def beside(self, baseline: Baseline) -> Scorer:
        bound = self.model_copy()  # with the model that is loaded, if one is
        bound._baseline = baseline
        bound.__dict__.pop("fingerprint", None)  # it was computed without the baseline
        return bound

    @cached_property
    def fingerprint(self) -> str:
        own = super().fingerprint
        return own if self._baseline is None else fingerprint_of(type(self), [own, self._baseline.generator])

    def _other(self, prompt: Prompt) -> str:
        """The reply to compare with. Raises ValueError where there is none."""
        if not self.compares:
            other: Any = prompt.fields.get(self.against)
        elif self._baseline is None:
            raise ValueError("the base model's greedy replies are drawn when a run begins, and are not known here")
        else:
            other = self._baseline.replies.get(prompt.id)
        if not isinstance(other, str) or not other.strip():
            whose = "the base model gave" if self.compares else f"the prompt's field '{self.against}' holds"
            raise ValueError(f"{whose} no reply to compare with")
        return other

    def questions(self, reply: Reply) -> Sequence[Question] | Score:
        other = self._other(reply.prompt)
        if reply.text.strip() == other.strip():
            return Score(0.5, f"the same as the {self.against} reply")
        task, shown = _TASK.format(rubric=self.rubric.strip()), self._shown(reply)
        orders = ((reply.text, other), (other, reply.text))
        return [question(task, _FORM, _SCHEMA, {**shown, "A": a, "B": b}) for a, b in orders]

    def verdict(self, answers: Sequence[Answer]) -> Score:
        values = [worth[answer["better"]] for worth, answer in zip(_WORTH, answers, strict=True)]
        won = {1.0: "better", 0.5: "even", 0.0: "worse"}
        told = "; ".join(
            f"{place}: {won[value]} ({answer['explanation']})"
            for place, value, answer in zip(("as A", "as B"), values, answers, strict=True)
        )
        return Score(sum(values) / 2, told)
