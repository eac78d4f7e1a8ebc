"""Reward models, and classifiers of toxicity, safety, tone: any sequence classifier of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from rsft.errors import ModelError
from rsft.models.references import ModelFolder
from rsft.scorers.model import ModelScorer
from rsft.types import Reply, Score


class Classifier(ModelScorer):
    """What a sequence classifier says of the reply: a reward model's reward, or the probability of one class.

    A model with one output gives it as it is (`scale: sigmoid` for 0 to 1). Of several classes, `label` names the one
    whose probability is the score; classes that exclude each other share it out, as the model's configuration has it.

    With a chat template the model reads the conversation and the reply, without one the reply alone. Turns are left out
    from the oldest on where its window can't hold all. The score is the same whatever the batch, but for rounding.
    """

    example: ClassVar[Mapping[str, Any]] = {"model": "unitary/toxic-bert", "label": "toxic"}

    label: str | None = Field(None, description="Of several classes, the one whose probability is the score.")
    scale: Literal["raw", "sigmoid"] = Field("raw", description="Of one output: as it is, or from 0 to 1.")
    reads: Literal["conversation", "reply"] | None = Field(
        None, description="By default the conversation, if the model has a chat template, else the reply."
    )

    def load(self, folder: ModelFolder, device: str) -> Any:
        from rsft.models.classifier import Classifier as Model

        model = Model.load(folder, device, trust_remote_code=self.trust_remote_code)
        model.class_of(self.label)
        if self.reads == "conversation" and model.chat is None:
            raise ModelError(f"The model '{model.name}' has no chat template, so it can only read replies.")
        return model

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        model = self.loaded
        if (self.reads or ("conversation" if model.chat else "reply")) == "reply":
            rows = [model.text(reply.text) for reply in replies]
        else:
            rows = [model.exchange(reply) for reply in replies]
        return [self._said(logits) for logits in model.logits(rows)]

    def _said(self, logits_L: Any) -> Score:
        from rsft.models.classifier import sigmoid

        number = self.loaded.class_of(self.label)
        if number is None:
            reward = float(logits_L[0])
            return Score(reward if self.scale == "raw" else float(sigmoid(reward)))
        chances = self.loaded.probabilities(logits_L)
        likeliest = int(chances.argmax())
        return Score(float(chances[number]), f"likeliest: {self.loaded.labels[likeliest]} ({chances[likeliest]:.2f})")
