"""Does a reply contradict what was said, or follow from it? Asked of a classifier of entailment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from rsft.errors import ModelError
from rsft.models.references import ModelFolder
from rsft.scorers.context import Context, Fields
from rsft.scorers.model import ModelScorer
from rsft.text import sentences
from rsft.types import Reply, Score

_BEGINS = {"contradiction": "contradict", "entailment": "entail"}


class Nli(ModelScorer):
    """1 − the probability that a sentence of the reply contradicts something said before (the worst one counts).

    Each sentence is held against each turn of the conversation and each field in `with`. `asks: entailment` asks the
    other question instead: how probably the sentence that follows least does follow from one of them.

    The model says which of its classes is which; one whose classes have no names is refused.
    """

    example: ClassVar[Mapping[str, Any]] = {"model": "cross-encoder/nli-deberta-v3-small", "with": ["facts"]}

    fields: Fields = Field((), alias="with", description="Fields of the prompt that count as said.")
    asks: Literal["contradiction", "entailment"] = Field("contradiction", description="Which of the two is asked.")
    roles: tuple[str, ...] = Field(("system", "user", "assistant"), description="Whose turns count as said.")

    def load(self, folder: ModelFolder, device: str) -> Any:
        from rsft.models.classifier import Classifier

        model = Classifier.load(folder, device, trust_remote_code=self.trust_remote_code)
        self._class_of(model)
        return model

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        asked = [self._pairs(reply) for reply in replies]
        logits = iter(self.loaded.logits([self.loaded.text(*pair) for pairs in asked for pair in pairs]))
        return [self._said({pair: next(logits) for pair in pairs}) for pairs in asked]

    def _pairs(self, reply: Reply) -> list[tuple[str, str]]:
        """What was said before with each sentence of the reply."""
        context = Context.of(reply.prompt, self.fields)
        before = [turn.content for turn in context.turns if turn.role in self.roles] + list(context.given.values())
        said = sentences(reply.text)
        if not said:
            raise ValueError("the reply has no sentence")
        if not before:
            raise ValueError("there is nothing before the reply")
        return list(dict.fromkeys((part, one) for one in said for text in before for part in self._within(text, one)))

    def _within(self, text: str, said: str) -> list[str]:
        """The text, or its sentences where the window can't hold it beside what is said."""
        if len(self.loaded.text(text, said).ids) <= self.loaded.window:
            return [text]
        return sentences(text)

    def _said(self, logits: Mapping[tuple[str, str], Any]) -> Score:
        from rsft.models.classifier import softmax

        number = self._class_of(self.loaded)
        chances = {pair: float(softmax(logits_L)[number]) for pair, logits_L in logits.items()}
        if self.asks == "contradiction":
            (before, said), worst = max(chances.items(), key=lambda one: one[1])
            return Score(1 - worst, f"contradicts most ({worst:.2f}): {said!r} after {before!r}")
        best: dict[str, float] = {}
        for (_, said), chance in chances.items():
            best[said] = max(chance, best.get(said, 0.0))
        said, least = min(best.items(), key=lambda one: one[1])
        return Score(least, f"follows least: {said!r}")

    def _class_of(self, model: Any) -> int:
        """The number of the class that is asked for. Raises ModelError for a model that does not name it."""
        found = [n for n, label in enumerate(model.labels) if label.casefold().startswith(_BEGINS[self.asks])]
        if len(found) != 1:
            raise ModelError(
                f"The model '{model.name}' names its classes {', '.join(model.labels)}: none of them says "
                f"'{self.asks}', so it can't serve for entailment."
            )
        return found[0]
