"""Is each step of a reply a good one? Asked of a process reward model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from rsft.models.references import ModelFolder
from rsft.scorers.model import ModelScorer
from rsft.types import Reply, Score

_COMBINE: Mapping[str, Callable[[Any], Any]] = {
    "minimum": np.min,
    "product": np.prod,
    "mean": np.mean,
    "last": lambda values: values[-1],
}


class ProcessReward(ModelScorer):
    """The probability that the reply's steps are good, from 0 to 1, by a process reward model (2305.20050).

    Steps are what `separator` parts. The model is a token classifier that was trained as TRL's PRMTrainer does it: it
    says of the separator behind each step whether the step was good. `label` names its class of good steps.
    """

    example: ClassVar[Mapping[str, Any]] = {"model": "trl-lib/Qwen2-0.5B-Reward-Math-Sheperd", "label": "LABEL_1"}

    label: str | None = Field(None, description="The class of good steps, for a model with several classes.")
    separator: str = Field("\n", min_length=1, description="What stands between steps.")
    combine: Literal["minimum", "product", "mean", "last"] = Field("minimum", description="From steps to the reply.")

    def load(self, folder: ModelFolder, device: str) -> Any:
        from rsft.models.classifier import Classifier as Model

        model = Model.load(folder, device, by_token=True, trust_remote_code=self.trust_remote_code)
        model.class_of(self.label)
        return model

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        model = self.loaded
        rows, ends = zip(*(self._steps(reply) for reply in replies), strict=True)
        return [self._said(logits[list(places)]) for logits, places in zip(model.logits(rows), ends, strict=True)]

    def _steps(self, reply: Reply) -> tuple[Any, Sequence[int]]:
        """The conversation and the reply as tokens, and where each step ends."""
        from rsft.models.classifier import Encoded

        model = self.loaded
        steps = [step for step in reply.text.split(self.separator) if step.strip()]
        if not steps:
            raise ValueError("the reply is empty")
        if model.chat is not None:
            ids = model.chat.prompt_ids(reply.prompt.conversation)
        else:
            ids = list(model.text("\n".join(turn.content for turn in reply.prompt.conversation)).ids)
        ends = []
        for step in steps:
            said = model.tokenizer(step, add_special_tokens=False, split_special_tokens=True, verbose=False)
            parted = model.tokenizer(self.separator, add_special_tokens=False)
            ids = [*ids, *said["input_ids"], *parted["input_ids"]]
            ends.append(len(ids) - 1)
        return Encoded(ids), ends

    def _said(self, logits_SL: Any) -> Score:
        number = self.loaded.class_of(self.label) or 0
        good = np.array([self.loaded.probabilities(logits)[number] for logits in logits_SL])
        return Score(float(_COMBINE[self.combine](good)), "steps: " + ", ".join(f"{value:.2f}" for value in good))
