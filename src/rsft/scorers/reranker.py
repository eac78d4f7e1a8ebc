"""Does a reply answer its conversation? Asked of a cross-encoder, which reads both at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from rsft.errors import ModelError
from rsft.models.chat import check_tokenizer
from rsft.models.devices import scoring_dtype
from rsft.models.references import ModelFolder, refuse_pickles
from rsft.scorers.context import Context, Fields
from rsft.scorers.pooling import all_of, first_that_fits, refuse_marks, relevance
from rsft.scorers.served import ServedModelScorer
from rsft.types import Reply, Score


class Reranker(ServedModelScorer):
    """What a cross-encoder says of the conversation's last turns and the reply: larger is more relevant.

    A model with one output, through the activation that it is shipped with (often a sigmoid: 0 to 1). Turns are left
    out from the oldest on where the model's window can't hold all; a reply that it can't hold with the last turn fails.
    With a `server` that is vLLM's /score; a text that spells a tokenizer's marks fails there.
    """

    example: ClassVar[Mapping[str, Any]] = {"model": "cross-encoder/ms-marco-MiniLM-L6-v2", "with": ["facts"]}

    fields: Fields = Field((), alias="with", description="Fields of the prompt that count as said.")

    def load(self, folder: ModelFolder, device: str) -> Any:
        from sentence_transformers import CrossEncoder

        from rsft.models.classifier import refuse_missing

        refuse_pickles(folder)
        model = CrossEncoder(
            str(folder.path),
            device=device,
            trust_remote_code=self.trust_remote_code,
            model_kwargs={"dtype": scoring_dtype(device), "use_safetensors": True},
        )
        check_tokenizer(model.tokenizer, folder.path)
        # Text that spells the model's marks stays text.
        model.tokenizer.split_special_tokens = True
        refuse_missing(self._missing(model, folder), folder, "cross-encoder")
        if model.num_labels != 1:
            raise ModelError(
                f"The model '{folder.reference}' has {model.num_labels} outputs, and a reranker has one. "
                "Classifiers of entailment are for the scorer 'nli', others for 'classifier'."
            )
        return model

    def _missing(self, model: Any, folder: ModelFolder) -> Collection[str]:
        """The weights that the model wants and its folder does not have, found without reading any again."""
        _, said = type(model[0].auto_model).from_pretrained(
            folder.path, device_map="meta", output_loading_info=True, trust_remote_code=self.trust_remote_code
        )
        missing: Collection[str] = said["missing_keys"]
        return missing

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        if self.server is not None:
            said = all_of(self.asked, map(self._ask, replies))
            return [Score.failed(str(one)) if isinstance(one, Exception) else Score(one) for one in said]
        pairs = [(self._asked(reply), reply.text) for reply in replies]
        values = self.loaded.predict(pairs, batch_size=64, show_progress_bar=False)
        return [Score(float(value)) for value in values]

    async def _ask(self, reply: Reply) -> float:
        """What the server says."""
        asked = list(self._turns(reply))
        refuse_marks([asked[0], reply.text])
        return await first_that_fits(asked, lambda turns: relevance(self.asked, turns, reply.text))

    def _asked(self, reply: Reply) -> str:
        """As many of the last turns as there is room for."""
        window = self.loaded.max_seq_length or 1 << 30
        for asked in self._turns(reply):
            if len(self.loaded.tokenizer(asked, reply.text, truncation=False, verbose=False)["input_ids"]) <= window:
                return asked
        raise ValueError(f"the last turn and the reply are longer than the {window} tokens that the model reads")

    def _turns(self, reply: Reply) -> Iterator[str]:
        """All turns, then without the oldest, and so on."""
        turns = [message.content for message in Context.of(reply.prompt, self.fields).messages]
        for first in range(len(turns)):
            yield "\n".join(turns[first:])
