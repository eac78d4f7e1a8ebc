"""A chat model that answers questions, many at a time: what a judge in this process runs on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from rsft.models.network import Network
from rsft.types import Message

# Tokens in memory at a time, those to come among them: few enough for their keys and values.
_BATCH_TOKENS = 16_384


@dataclass(frozen=True, slots=True)
class Asked:
    """A conversation to be answered, greedily (temperature 0) or by lot, with lots that hang on the seed alone."""

    messages: tuple[Message, ...]
    seed: int = 0
    temperature: float = 0.0


class Answering:
    """A network that answers with the weights that it shows at the moment. Its answers do not hang on what else is
    asked, but for rounding."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def room_for(self, asked: Sequence[Asked]) -> list[int]:
        """How many tokens an answer to each may have; 0 or less where the question itself is too long."""
        return [self.network.context_length - len(self._ids(one)) for one in asked]

    def answers(self, asked: Sequence[Asked], max_tokens: int) -> list[str]:
        """The text of each answer, in order, of at most so many tokens or as many as there is room for. Raises
        TemplateError where the model's template refuses a conversation."""
        rows = [self._ids(one) for one in asked]
        said = [""] * len(asked)
        for batch in _batches([len(row) for row in rows], max_tokens):
            texts = self._answered([rows[i] for i in batch], [asked[i] for i in batch], max_tokens)
            for place, text in zip(batch, texts, strict=True):
                said[place] = text
        return said

    def _ids(self, asked: Asked) -> list[int]:
        return self.network.chat.prompt_ids(asked.messages)

    @torch.inference_mode()
    def _answered(self, rows: Sequence[list[int]], asked: Sequence[Asked], max_tokens: int) -> list[str]:
        chat, longest = self.network.chat, max(map(len, rows))
        stop = sorted(chat.stop_ids)
        law = GenerationConfig(
            max_new_tokens=min(max_tokens, self.network.context_length - longest),
            do_sample=False,
            eos_token_id=stop,
            pad_token_id=stop[0],
        )
        ids_BT = torch.tensor([[stop[0]] * (longest - len(row)) + row for row in rows], device=self.network.device)
        mask_BT = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=ids_BT.device)
        out_BT = self.network.plain().generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            generation_config=law,
            logits_processor=LogitsProcessorList([_Lots(asked)]),
        )
        return [chat.decode(_own(row, chat.stop_ids)) for row in out_BT[:, longest:].tolist()]


class _Lots(LogitsProcessor):  # type: ignore[misc]
    """Gumbel noise on logits, from a generator of each row's own: the greatest is then a draw from their softmax at the
    row's temperature (Gumbel 1954), whatever else is in the batch."""

    def __init__(self, asked: Sequence[Asked]) -> None:
        self._temperatures = [one.temperature for one in asked]
        self._generators = [torch.Generator().manual_seed(one.seed) for one in asked]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        drawn = scores.float().clone()
        for row, (temperature, generator) in enumerate(zip(self._temperatures, self._generators, strict=True)):
            if temperature > 0:
                even = torch.rand(drawn.shape[1], generator=generator).clamp_(min=1e-20, max=1 - 1e-7)
                drawn[row] = drawn[row] / temperature - (-even.log()).log().to(drawn.device)
        return drawn


def _own(token_ids: Sequence[int], stop_ids: frozenset[int]) -> list[int]:
    """An answer's tokens up to the one that ends it, without what fills the row."""
    end = next((place for place, token in enumerate(token_ids) if token in stop_ids), len(token_ids))
    return list(token_ids[: end + 1])


def _batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Places, those of similar length together, as many as memory has room for."""
    batches: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        whole = lengths[place] + max_tokens  # rows grow as long as the longest, which comes last
        if batches and whole * (len(batches[-1]) + 1) <= _BATCH_TOKENS:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches
