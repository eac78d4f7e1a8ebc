"""Reward models, and classifiers of toxicity, safety, tone: any sequence classifier of transformers, here or behind a
server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator
from scipy.special import expit

from rsft.config.section import OneOrMore
from rsft.errors import ModelError
from rsft.models.chat import shorter_and_shorter
from rsft.models.references import ModelFolder
from rsft.scorers.pooling import PoolingPath, Unusable, all_of, classify, first_that_fits, refuse_marks
from rsft.scorers.served import ServedModelScorer
from rsft.types import Message, Reply, Score


class Classifier(ServedModelScorer):
    """What a sequence classifier says of the reply: a reward model's reward, or the probability of one class.

    A model with one output gives it as it is (`scale: sigmoid` for 0 to 1). Of several classes, `label` names the one
    whose probability is the score; classes that exclude each other share it out, as the model's configuration has it.

    With a chat template the model reads the conversation and the reply, without one the reply alone. Turns are left out
    from the oldest on where its window can't hold all. The score is the same whatever the batch, but for rounding.

    A `server` is vLLM's /classify or /pooling. It does not tell its classes' names: `classes` does. It can't be told
    that text is only text: what spells a tokenizer's marks fails.
    """

    example: ClassVar[Mapping[str, Any]] = {"model": "unitary/toxic-bert", "label": "toxic"}

    not_what_is_asked: ClassVar[frozenset[str]] = ServedModelScorer.not_what_is_asked | {"classes", "path"}

    label: str | None = Field(None, description="Of several classes, the one whose probability is the score.")
    scale: Literal["raw", "sigmoid"] = Field("raw", description="Of one output: as it is, or from 0 to 1.")
    reads: Literal["conversation", "reply"] | None = Field(
        None, description="By default the conversation, if the model has a chat template or a server, else the reply."
    )
    classes: OneOrMore | None = Field(
        None, description="With a server and a label: the names of all classes, in the order of the model's outputs."
    )
    path: PoolingPath = Field(
        "/classify", description="Of a server: /classify; or /pooling, for reward models that it serves only so."
    )

    @model_validator(mode="after")
    def _names_what_a_server_has(self) -> Classifier:
        if self.server is None:
            if given := self.model_fields_set & {"classes", "path"}:
                raise ValueError(f"{' and '.join(sorted(given))} can only be said of a server's model")
        elif (self.label is None) != (self.classes is None):
            raise ValueError("label and classes go together where the model is behind a server")
        elif self.classes and self.label not in self.classes:
            raise ValueError(f"label is '{self.label}', and the classes are {', '.join(self.classes)}")
        return self

    def load(self, folder: ModelFolder, device: str) -> Any:
        from rsft.models.classifier import Classifier as Model

        model = Model.load(folder, device, trust_remote_code=self.trust_remote_code)
        model.class_of(self.label)
        if self.reads == "conversation" and model.chat is None:
            raise ModelError(f"The model '{model.name}' has no chat template, so it can only read replies.")
        return model

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        if self.server is not None:
            said = all_of(self.asked, map(self._ask, replies))
            return [Score.failed(str(one)) if isinstance(one, Exception) else one for one in said]
        model = self.loaded
        if (self.reads or ("conversation" if model.chat else "reply")) == "reply":
            rows = [model.text(reply.text) for reply in replies]
        else:
            rows = [model.exchange(reply) for reply in replies]
        return [self._said(logits) for logits in model.logits(rows)]

    def _said(self, logits_L: Any) -> Score:
        number = self.loaded.class_of(self.label)
        if number is None:
            return self._reward(float(logits_L[0]))
        return _chance(number, self.loaded.labels, self.loaded.probabilities(logits_L))

    def _reward(self, reward: float) -> Score:
        return Score(reward if self.scale == "raw" else float(expit(reward)))

    async def _ask(self, reply: Reply) -> Score:
        """What the server says."""
        if self.reads == "reply":
            refuse_marks([reply.text])
            return self._read(*await self._classified({"input": reply.text}))
        versions = [
            [{"role": turn.role, "content": turn.content} for turn in (*turns, Message("assistant", reply.text))]
            for turns in shorter_and_shorter(reply.prompt.conversation)
        ]
        refuse_marks(turn["content"] for turn in versions[0])
        said = await first_that_fits(versions, lambda turns: self._classified({"messages": turns}))
        return self._read(*said)

    async def _classified(self, said: Mapping[str, Any]) -> tuple[Any, str]:
        return await classify(self.asked, self.path, said, probabilities=self.label is not None)

    def _read(self, said_L: Any, likeliest: str) -> Score:
        if self.label is None:
            if len(said_L) != 1:
                raise Unusable(f"the model has {len(said_L)} classes: name one with 'label', and all with 'classes'")
            return self._reward(float(said_L[0]))
        classes = self.classes or []
        if len(said_L) != len(classes):
            raise Unusable(f"the model has {len(said_L)} classes, and 'classes' names {len(classes)}")
        if likeliest and classes[int(said_L.argmax())] != likeliest:
            raise Unusable(
                f"the server calls class {int(said_L.argmax())} '{likeliest}', and 'classes' has "
                f"'{classes[int(said_L.argmax())]}' there"
            )
        return _chance(classes.index(self.label), classes, said_L)


class RewardModel(Classifier):
    """What a reward model says of the reply, in its conversation: the one number that it gives.

    As it is, or from 0 to 1 (`scale: sigmoid`). In all else it is as `classifier`.
    """

    example: ClassVar[Mapping[str, Any]] = {"model": "Skywork/Skywork-Reward-V2-Qwen3-0.6B"}


def _chance(number: int, classes: Sequence[str], chances_L: Any) -> Score:
    likeliest = int(chances_L.argmax())
    return Score(float(chances_L[number]), f"likeliest: {classes[likeliest]} ({chances_L[likeliest]:.2f})")
