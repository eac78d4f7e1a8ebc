"""What all judges have in common: who judges, how often it is asked, and what becomes of its answers."""

from __future__ import annotations

import logging
import statistics
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from rsft.config.section import OneOrMore
from rsft.models.devices import free_device, quick_dtype
from rsft.models.references import ModelFolder, resolve
from rsft.registry import fingerprint_of
from rsft.scorers.base import RUNS_MODEL, Scorer
from rsft.scorers.context import Context, Fields
from rsft.scorers.judge.asking import Question
from rsft.scorers.judge.tricks import trick_in
from rsft.scorers.judge.verdicts import Unread, read
from rsft.scorers.judge.voices import LocalVoice, ServerVoice, Silence, Voice
from rsft.scorers.model import content, in_memory
from rsft.servers import Endpoint
from rsft.types import Reply, Score

_log = logging.getLogger("rsft")

# Several answers to one question are drawn at this temperature; so is a second one where the first can't be read.
_VARIED = 0.7

Answer = Mapping[str, Any]


class Judge(Scorer):
    """A chat model that judges replies: behind a `server`, or in this process (`model`), or the run's own base model.

    The model that judges is the same in all iterations, the run's own among them: the base is asked, not what training
    made of it, so that scores stay comparable. An answer that can't be read after a second try is a failed score, never
    a 0. A reply that holds a known trick against judges is one that nobody needs to ask about: its score is 0. It is
    not a failed one, for the trick is the reply's fault and no further try mends it; and a policy that learnt tricks
    must not gain by having them left out of its mean.
    """

    takes_the_runs_model: ClassVar[bool] = True

    server: Endpoint | None = Field(None, description="The server of the model that judges: {url, model, ...}.")
    model: OneOrMore | None = Field(None, description="A model in this process; by default the run's own base model.")
    device: str | None = Field(None, description="Of a model in this process: cpu, cuda, cuda:1, ...")
    trust_remote_code: bool = Field(False, description="Let the model bring code of its own.")
    shows: Fields = Field((), description="Fields of the prompt that the judge may see, such as facts.")
    repeats: int = Field(1, ge=1, le=64, description="Answers to each question, of which the mean counts.")
    temperature: float | None = Field(None, ge=0, le=2, description="By default 0, and 0.7 for several answers.")
    max_tokens: int = Field(512, ge=16, description="Tokens of an answer.")
    structured: bool = Field(True, description="Have a server force the answer's form, if it can.")

    not_sent: ClassVar[frozenset[str]] = frozenset({"_lock", "_voice"})

    _lock: Any = PrivateAttr(default_factory=threading.RLock)
    _voice: Any = PrivateAttr(default=None)
    _is_the_runs: bool = PrivateAttr(default=False)

    @model_validator(mode="after")
    def _somebody_judges(self, info: ValidationInfo) -> Judge:
        if (self.server is None) == (self.model is None):
            raise ValueError("give either server: {url: ..., model: ...} or model: ..., for who judges")
        if self.repeats > 1 and self.temperature == 0:
            raise ValueError("several answers (repeats) at a temperature of 0 are one; leave temperature out")
        self._is_the_runs = self.model is not None and self.model == (info.context or {}).get(RUNS_MODEL)
        return self

    # -- a subclass says ---------------------------------------------------------------------------------------------

    def questions(self, reply: Reply) -> Sequence[Question] | Score:
        """What is asked of the judge; or the score, where nothing need be asked. Raises ValueError with the reason of a
        failed score."""
        raise NotImplementedError

    def verdict(self, answers: Sequence[Answer]) -> Score:
        """What the answers to the questions come to, in order."""
        raise NotImplementedError

    # -- a scorer ----------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        if self.server is not None:
            self.server.key()
            return
        if self._is_the_runs:
            _log.warning(
                "The scorer '%s' has the run's own model judge itself, and a model favours its own replies. Let held-"
                "out scorers of another kind look on (evaluation.scorers), or name another judge (server or model).",
                type(self).__name__.lower(),
            )
        _ = self.voice

    @property
    def voice(self) -> Voice:
        """Who answers. Raises ModelError, or ServerError where a key is missing."""
        with self._lock:
            if self._voice is None:
                if self.server is not None:
                    self._voice = ServerVoice(self.server, self.max_tokens, structured=self.structured)
                else:
                    assert self.model is not None
                    self._voice = LocalVoice(in_memory(self.model, self.device, self._load), self.max_tokens)
            voice: Voice = self._voice
            return voice

    def _load(self, folder: ModelFolder, device: str) -> Any:
        from rsft.models.answering import Answering
        from rsft.models.network import Network

        return Answering(Network.load(folder, device=device, trust_remote_code=self.trust_remote_code))

    @cached_property
    def fingerprint(self) -> str:
        own = {"server", "model", "device", "trust_remote_code"}
        options = self.model_dump(mode="json", exclude=own)
        if self.server is not None:
            who = ["server", self.server.model]
        else:
            assert self.model is not None
            who = [str(quick_dtype(self.device or free_device())), content(resolve(self.model).path)]
        return fingerprint_of(type(self), [options, who], self.version)

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        said = [self._without_asking(reply) for reply in replies]
        asked = [(place, questions) for place, questions in enumerate(said) if not isinstance(questions, Score)]
        answers = self._answers(self._draws([question for _, questions in asked for question in questions]))
        # For each question, its answers stand together.
        start, scores = 0, [one if isinstance(one, Score) else Score.failed("not asked") for one in said]
        for place, questions in asked:
            end = start + len(questions) * self.repeats
            scores[place] = self._said(answers[start:end], len(questions))
            start = end
        return scores

    # -- inside ------------------------------------------------------------------------------------------------------

    def _without_asking(self, reply: Reply) -> Sequence[Question] | Score:
        if trick := trick_in(reply.text):
            return Score(0.0, f"a trick against judges: {trick}")
        try:
            return self.questions(reply)
        except ValueError as error:
            return Score.failed(str(error))

    def _draws(self, questions: Sequence[Question]) -> list[Question]:
        warmth = self.temperature if self.temperature is not None else _VARIED if self.repeats > 1 else 0.0
        return [question.drawn(warmth, "answer", repeat) for question in questions for repeat in range(self.repeats)]

    def _answers(self, questions: Sequence[Question]) -> list[Answer | Silence]:
        """An answer to each question that keeps its schema. What can't be read is drawn once more, by another seed."""
        said = self._heard(questions)
        again = [place for place, (_, is_unread) in enumerate(said) if is_unread]
        further = [questions[place] for place in again]
        further = [one.drawn(max(one.temperature, _VARIED), "again", one.seed) for one in further]
        for place, one in zip(again, self._heard(further), strict=True):
            said[place] = one
        return [one for one, _ in said]

    def _heard(self, questions: Sequence[Question]) -> list[tuple[Answer | Silence, bool]]:
        """Each answer, or why there is none; and whether there was one that can't be read."""
        if not questions:
            return []
        heard: list[tuple[Answer | Silence, bool]] = []
        for question, text in zip(questions, self.voice.say(questions), strict=True):
            if isinstance(text, Silence):
                heard.append((text, False))
                continue
            try:
                heard.append((read(text, question.schema), False))
            except Unread as error:
                heard.append((Silence(str(error)), True))
        return heard

    def _said(self, answers: Sequence[Answer | Silence], questions: int) -> Score:
        """The score from all answers to a reply's questions: the mean of its repeats. One that is missing fails it: the
        mean of fewer would be another measure."""
        known = [one for one in answers if not isinstance(one, Silence)]
        if len(known) < len(answers):
            return Score.failed(next(one.why for one in answers if isinstance(one, Silence)))
        verdicts = [self.verdict(known[repeat :: self.repeats]) for repeat in range(self.repeats)]
        values = [verdict.value for verdict in verdicts if verdict.value is not None]
        if self.repeats == 1 or len(values) < len(verdicts):
            return verdicts[0]
        told = ", ".join(f"{value:.3g}" for value in values)
        spread = statistics.pstdev(values)
        return Score(statistics.fmean(values), f"{told} (standard deviation {spread:.2g}): {verdicts[0].explanation}")

    def _shown(self, reply: Reply) -> dict[str, Any]:
        """The conversation, and what else the judge may see. Raises ValueError for a field that the prompt lacks."""
        context = Context.of(reply.prompt, self.shows)
        turns = [{"role": turn.role, "content": turn.content} for turn in context.turns]
        return {"conversation": turns, **({"known": dict(context.given)} if context.given else {})}
