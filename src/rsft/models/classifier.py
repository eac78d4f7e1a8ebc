"""Classifiers of texts: reward models, judges of toxicity or entailment, process reward models."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification

from rsft.errors import ModelError, nearest
from rsft.models.chat import ChatTokenizer, load_tokenizer, shorter_and_shorter
from rsft.models.devices import scoring_dtype
from rsft.models.references import ModelFolder
from rsft.types import Message, Reply

# In one pass. Rows are of about one length, so that hardly a token is padding.
_PASS_TOKENS, _PASS_ROWS = 4096, 64
_NO_LIMIT = 1 << 30

Logits = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text, or a pair of texts, as tokens; `types` tells the two of a pair apart for models that want that."""

    ids: Sequence[int]
    types: Sequence[int] | None = None


class Classifier:
    """A sequence or token classifier in memory, on one device.

    What it says of a text does not depend on the others of a batch, but for rounding: rows are padded on the right
    whatever the tokenizer would do, padding is masked, and a decoder is read at the last token of each row.
    """

    def __init__(self, module: Any, tokenizer: Any, name: str) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.name = name
        self.chat = ChatTokenizer(tokenizer) if tokenizer.chat_template else None
        self._has_no_filling = module.config.pad_token_id is None

    @classmethod
    def load(
        cls, model: ModelFolder, device: str, *, by_token: bool = False, trust_remote_code: bool = False
    ) -> Classifier:
        """Raises ModelError for what is no classifier, and whatever transformers does for what it can't load."""
        kind = AutoModelForTokenClassification if by_token else AutoModelForSequenceClassification
        module, said = kind.from_pretrained(
            model.path,
            config=AutoConfig.from_pretrained(model.path, trust_remote_code=trust_remote_code),
            dtype=scoring_dtype(device),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
        refuse_missing(said["missing_keys"], model, "token classifier" if by_token else "sequence classifier")
        tokenizer = load_tokenizer(model.path, trust_remote_code=trust_remote_code)
        return cls(module.to(device).eval(), tokenizer, model.reference)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its classes, in the order of its logits."""
        names = self.module.config.id2label
        return tuple(str(names[number]) for number in range(len(names)))

    def class_of(self, label: str | None) -> int | None:
        """The number of the class that is asked for; None for a model with one output. Raises ModelError."""
        labels = self.labels
        if len(labels) == 1 and label is None:
            return None
        if label not in labels:
            problem = "several classes: name one with 'label'" if label is None else f"no class '{label}'"
            near = nearest(label or "", labels)
            raise ModelError(f"The model '{self.name}' has {problem}.{near} Its classes: {', '.join(labels)}.")
        return labels.index(label)

    def probabilities(self, logits_L: Logits) -> Logits:
        """(L,): of classes that exclude each other, or each by itself."""
        if self.module.config.problem_type == "multi_label_classification" or len(logits_L) == 1:
            chances_L: Logits = sigmoid(logits_L)
            return chances_L
        return softmax(logits_L)

    @property
    def window(self) -> int:
        """How many tokens it can read."""
        config = self.module.config.get_text_config()
        positions = getattr(config, "max_position_embeddings", None) or _NO_LIMIT
        if config.model_type in ("roberta", "xlm-roberta", "camembert"):  # positions begin behind the padding's
            positions -= config.pad_token_id + 1
        return int(min(positions, self.tokenizer.model_max_length or _NO_LIMIT))

    def conversation(self, messages: Sequence[Message]) -> Encoded:
        """A conversation with its reply, by the chat template. Text that spells control tokens stays text."""
        if self.chat is None:
            raise ModelError(f"The model '{self.name}' has no chat template, so it reads no conversations.")
        return Encoded(self.chat.whole_ids(messages))

    def exchange(self, reply: Reply) -> Encoded:
        """The conversation with the reply, without the oldest turns if the window can't hold them. What is left begins
        with a user's turn, as chat templates want it.

        Raises ValueError if the window can't hold the reply with the user's last turn.
        """
        for turns in shorter_and_shorter(reply.prompt.conversation):
            row = self.conversation([*turns, Message("assistant", reply.text)])
            if len(row.ids) <= self.window:
                return row
        raise ValueError(
            f"the reply and the user's last turn are longer than the {self.window} tokens that the model reads"
        )

    def text(self, text: str, second: str | None = None) -> Encoded:
        """A text, or a pair, with the marks that the model expects. Text that spells such marks stays text."""
        both = [text] if second is None else [text, second]
        said = self.tokenizer(*both, split_special_tokens=True, truncation=False, verbose=False)
        return Encoded(said["input_ids"], said.get("token_type_ids"))

    def logits(self, rows: Sequence[Encoded]) -> list[Logits]:
        """Of each row (L,), or (tokens, L) for a token classifier. Rows that the window can't hold are a ValueError."""
        longest = max((len(row.ids) for row in rows), default=0)
        if longest > self.window:
            raise ValueError(f"a text has {longest} tokens, and '{self.name}' reads {self.window}")
        said: list[Logits] = [np.empty(0, dtype=np.float32)] * len(rows)
        for group in _groups(rows):
            for number, logits in zip(group, self._pass([rows[number] for number in group]), strict=True):
                said[number] = logits
        return said

    @torch.inference_mode()
    def _pass(self, rows: Sequence[Encoded]) -> Iterator[Logits]:
        filling = self._filling(rows)
        longest = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), longest), filling)
        types = torch.zeros_like(ids)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row.ids)] = torch.tensor(row.ids)
            mask[place, : len(row.ids)] = 1
            if row.types is not None:
                types[place, : len(row.types)] = torch.tensor(row.types)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if any(row.types is not None for row in rows):
            inputs["token_type_ids"] = types
        device = self.module.device
        logits = self.module(**{name: tensor.to(device) for name, tensor in inputs.items()}).logits.float().cpu()
        for place, row in enumerate(rows):
            yield (logits[place, : len(row.ids)] if logits.dim() == 3 else logits[place]).numpy()

    def _filling(self, rows: Sequence[Encoded]) -> int:
        """What rows are filled up with. Decoders are read at the last token that is something else: so where none is
        set, one is chosen that no row holds."""
        if self._has_no_filling:
            there = {token for row in rows for token in row.ids}
            self.module.config.pad_token_id = next(token for token in range(len(there) + 1) if token not in there)
        return int(self.module.config.pad_token_id)


def refuse_missing(weights: Collection[str], model: ModelFolder, what: str) -> None:
    """Raise ModelError where a model has no weights for its head: one made of random numbers would score at random."""
    if weights:
        missing = ", ".join(sorted(weights)[:3])
        raise ModelError(f"The model '{model.reference}' is no {what}: it has no weights for {missing}.")


def _groups(rows: Sequence[Encoded]) -> Iterator[list[int]]:
    """The rows' numbers, by length, as many together as a pass may carry."""
    group: list[int] = []
    for number in sorted(range(len(rows)), key=lambda number: len(rows[number].ids)):
        if group and (len(group) == _PASS_ROWS or (len(group) + 1) * len(rows[number].ids) > _PASS_TOKENS):
            yield group
            group = []
        group.append(number)
    if group:
        yield group


def sigmoid(logits: Any) -> Any:
    """Each from 0 to 1, by itself."""
    return 1 / (1 + np.exp(-logits))


def softmax(logits_L: Logits) -> Logits:
    """(L,): shares of 1."""
    shares_L = np.exp(logits_L - logits_L.max())
    total: Logits = shares_L / shares_L.sum()
    return total
