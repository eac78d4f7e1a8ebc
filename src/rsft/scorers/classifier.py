"""Reward models, and classifiers of toxicity, safety, tone: any sequence classifier of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from rsft.errors import ModelError, nearest
from rsft.models.devices import scoring_dtype
from rsft.models.references import ModelFolder
from rsft.scorers.model import ModelScorer
from rsft.types import Message, Reply, Score


class Classifier(ModelScorer):
    """What a sequence classifier says of the reply: a reward model's reward, or the probability of one class.

    A model with one output gives it as it is (`scale: sigmoid` for 0 to 1). Of several classes, `label` names the one
    whose probability is the score; classes that exclude each other share it out, as the model's configuration has it.

    With a chat template the model reads the conversation and the reply, without one the reply alone. Turns are left out
    from the oldest on where its window can't hold all. The score is the same whatever the batch.
    """

    example: ClassVar[Mapping[str, Any]] = {"model": "unitary/toxic-bert", "label": "toxic"}

    label: str | None = Field(None, description="Of several classes, the one whose probability is the score.")
    scale: Literal["raw", "sigmoid"] = Field("raw", description="Of one output: as it is, or from 0 to 1.")
    reads: Literal["conversation", "reply"] | None = Field(
        None, description="By default the conversation, if the model has a chat template, else the reply."
    )

    def load(self, folder: ModelFolder, device: str) -> Any:
        from rsft.models.classifier import Classifier as Model

        model = Model.load(folder, device, scoring_dtype(device), trust_remote_code=self.trust_remote_code)
        class_of(model, self.label)
        if self.reads == "conversation" and model.chat is None:
            raise ModelError(f"The model '{model.name}' has no chat template, so it can only read replies.")
        return model

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        model = self.loaded
        if (self.reads or ("conversation" if model.chat else "reply")) == "reply":
            rows = [model.text(reply.text) for reply in replies]
        else:
            rows = [conversation_within(model, reply) for reply in replies]
        return [self._said(logits) for logits in model.logits(rows)]

    def _said(self, logits_L: Any) -> Score:
        number = class_of(self.loaded, self.label)
        if number is None:
            reward = float(logits_L[0])
            return Score(reward if self.scale == "raw" else float(1 / (1 + np.exp(-reward))))
        chances = probabilities(self.loaded, logits_L)
        likeliest = int(np.argmax(chances))
        return Score(float(chances[number]), f"likeliest: {self.loaded.labels[likeliest]} ({chances[likeliest]:.2f})")


def class_of(model: Any, label: str | None) -> int | None:
    """The number of the class that is asked for; None for a model with one output. Raises ModelError."""
    labels = model.labels
    if len(labels) == 1 and label is None:
        return None
    if label not in labels:
        problem = "several classes: name one with 'label'" if label is None else f"no class '{label}'"
        raise ModelError(
            f"The model '{model.name}' has {problem}.{nearest(label or '', labels)} Its classes: {', '.join(labels)}."
        )
    return int(labels.index(label))


def probabilities(model: Any, logits_L: Any) -> Any:
    """(L,): of classes that exclude each other, or each by itself."""
    config = model.module.config
    if config.problem_type == "multi_label_classification" or len(logits_L) == 1:
        return 1 / (1 + np.exp(-logits_L))
    shares = np.exp(logits_L - logits_L.max())
    return shares / shares.sum()


def conversation_within(model: Any, reply: Reply) -> Any:
    """The conversation with the reply, without the oldest turns if the model's window can't hold them.

    Raises ValueError if it can't hold the reply with the turn before it.
    """
    turns = reply.prompt.conversation
    system = turns[:1] if turns[0].role == "system" else ()
    for first in range(len(system), len(turns)):
        row = model.conversation([*system, *turns[first:], Message("assistant", reply.text)])
        if len(row.ids) <= model.window:
            return row
    raise ValueError(f"the reply and the turn before it are longer than the {model.window} tokens that the model reads")
