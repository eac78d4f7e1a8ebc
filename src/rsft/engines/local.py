"""The engine in this process: a prompt is read once, its candidates decode together, and finished ones leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from rsft.engines.base import Request
from rsft.engines.law import draw, uniforms
from rsft.errors import RecipeError
from rsft.models.network import Network
from rsft.types import Candidate, Policy, SamplingParams

# Rows that decode together. Measured on two cores with a 135M model: the matrix products are at their best from 128.
_ROWS = 256
# Keys and values of a wave may take this share of the memory that is free when it begins.
_MEMORY_SHARE = 0.4
# A wave ends early, once it has _FEW rows, where the next prompt would pad it to more than this times its shortest.
_PADDING = 1.5
_FEW = 96
# Prompts that are read together, chosen for similar length.
_READ = 16
# The batch is compacted when this share of its rows has finished: copying the caches costs about one step.
_COMPACT_SHARE = 0.2


@dataclass(slots=True)
class _Row:
    """A candidate in the making."""

    request: Request
    uniforms: np.ndarray[Any, np.dtype[np.float32]]
    token_ids: list[int] = field(default_factory=list)
    logprob: float = 0.0
    model_logprob: float = 0.0


class LocalEngine:
    """Samples from a `Network` in waves of prompts of similar length."""

    def __init__(self, network: Network) -> None:
        self.network = network

    @classmethod
    def open(cls, options: Mapping[str, Any], network: Callable[[], Network]) -> LocalEngine:
        if options:
            raise RecipeError(f"The engine 'local' has no options; found {', '.join(map(str, options))}.")
        return cls(network())

    @property
    def base(self) -> Policy:
        return self.network.base

    @property
    def description(self) -> dict[str, object]:
        return {
            "engine": "local",
            "dtype": str(self.network.dtype).removeprefix("torch."),
            "device": str(self.network.device.type),
        }

    def sample(self, policy: Policy, requests: Sequence[Request], params: SamplingParams) -> Iterator[Candidate]:
        self.network.show(policy)
        families: list[tuple[list[int], list[Request]]] = []
        for _, of_prompt in groupby(sorted(requests, key=lambda r: r.key.prompt_id), key=lambda r: r.key.prompt_id):
            family = list(of_prompt)
            prompt_ids = self.network.chat.prompt_ids(family[0].prompt.messages)
            room = self.network.context_length - len(prompt_ids)
            if room < params.max_tokens:
                yield from (_failed(request, len(prompt_ids), self.network.context_length) for request in family)
            else:
                families.append((prompt_ids, family))
        families.sort(key=lambda family: (len(family[0]), family[1][0].key.prompt_id))
        for wave in _waves(families, self._row_limit(families, params)):
            yield from self._decode(wave, params)

    def _row_limit(self, families: Sequence[tuple[list[int], list[Request]]], params: SamplingParams) -> int:
        """How many rows' keys and values fit in memory beside everything else."""
        if not families:
            return 1
        config = self.network.plain().config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        per_token = 2 * config.num_hidden_layers * heads * width * self.network.dtype.itemsize
        longest = max(len(prompt_ids) for prompt_ids, _ in families) + params.max_tokens
        return max(1, min(_ROWS, int(_MEMORY_SHARE * _free_memory(self.network.device) / (per_token * longest))))

    def _decode(self, wave: Sequence[tuple[list[int], list[Request]]], params: SamplingParams) -> Iterator[Candidate]:
        import torch

        rows = [_Row(request, uniforms(request.seed, params.max_tokens)) for _, family in wave for request in family]
        with torch.inference_mode():
            state = _State.prefill(self.network, [ids for ids, _ in wave], [len(f) for _, f in wave], params.max_tokens)
        alive = list(range(len(rows)))  # the candidate that each row of the batch carries
        done = [False] * len(rows)
        for step in range(params.max_tokens):
            with torch.inference_mode():
                numbers = torch.tensor([rows[i].uniforms[step] for i in alive], device=self.network.device)
                drawn = draw(state.logits, numbers, params)
            columns = (drawn.tokens.tolist(), drawn.logprobs.tolist(), drawn.model_logprobs.tolist())
            for i, token, logprob, model_logprob in zip(alive, *columns, strict=True):
                if done[i]:
                    continue
                row = rows[i]
                row.token_ids.append(token)
                row.logprob += logprob
                row.model_logprob += model_logprob
                stopped = token in self.network.chat.stop_ids
                if stopped or step + 1 == params.max_tokens:
                    done[i] = True
                    yield self._candidate(row, stopped=stopped)
            finished = sum(done[i] for i in alive)
            if finished == len(alive):
                return
            with torch.inference_mode():
                tokens = drawn.tokens
                if finished >= max(1, _COMPACT_SHARE * len(alive)):
                    kept = torch.tensor([place for place, i in enumerate(alive) if not done[i]], device=tokens.device)
                    state.keep(kept)
                    tokens = tokens[kept]
                    alive = [i for i in alive if not done[i]]
                state.advance(tokens)

    def _candidate(self, row: _Row, *, stopped: bool) -> Candidate:
        return Candidate(
            key=row.request.key,
            text=self.network.chat.decode(row.token_ids),
            token_ids=tuple(row.token_ids),
            finish_reason="stop" if stopped else "length",
            logprob=row.logprob,
            model_logprob=row.model_logprob,
        )


class _State:
    """The batch between two steps: keys and values, the mask over them, and the next token's logits (rows, vocab)."""

    def __init__(self, network: Network, cache: Any, mask_RL: Any, logits: Any) -> None:
        self.network = network
        self.cache = cache
        self.mask_RL = mask_RL
        self.logits = logits

    @classmethod
    def prefill(cls, network: Network, prompts: Sequence[Sequence[int]], counts: Sequence[int], room: int) -> _State:
        """Read each prompt once, then give each of its candidates the result, with room for its reply."""
        import torch

        from rsft.engines.cache import RoomyCache

        longest = max(map(len, prompts))
        parts, masks, logits = [], [], []
        for start in range(0, len(prompts), _READ):
            some = prompts[start : start + _READ]
            rows = torch.repeat_interleave(torch.tensor(counts[start : start + _READ])).to(network.device)
            ids_PL, mask_PL = _left_padded(some, max(map(len, some)), network.device)
            cache = RoomyCache()
            out = network.module(
                input_ids=ids_PL,
                attention_mask=mask_PL,
                position_ids=(mask_PL.cumsum(-1) - 1).clamp(min=0),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            parts.append((cache, rows))
            masks.append(torch.nn.functional.pad(mask_PL, (longest - mask_PL.shape[1], 0))[rows])
            logits.append(out.logits[:, -1][rows])
        return cls(network, RoomyCache.joined(parts, room), torch.cat(masks), torch.cat(logits))

    def advance(self, tokens_R: Any) -> None:
        """Read one more token of each row."""
        import torch

        self.mask_RL = torch.cat([self.mask_RL, self.mask_RL.new_ones(len(tokens_R), 1)], dim=1)
        out = self.network.module(
            input_ids=tokens_R[:, None],
            attention_mask=self.mask_RL,
            position_ids=self.mask_RL.sum(-1, keepdim=True) - 1,
            past_key_values=self.cache,
            use_cache=True,
        )
        self.logits = out.logits[:, -1]

    def keep(self, rows: Any) -> None:
        """Drop the other rows."""
        self.cache.batch_select_indices(rows)
        self.mask_RL = self.mask_RL[rows]


def _left_padded(prompts: Sequence[Sequence[int]], length: int, device: Any) -> tuple[Any, Any]:
    """Token ids and mask (prompts, length): the prompts end at the last column."""
    import torch

    ids_PL = torch.zeros(len(prompts), length, dtype=torch.long)
    mask_PL = torch.zeros(len(prompts), length, dtype=torch.long)
    for place, prompt in enumerate(prompts):
        ids_PL[place, length - len(prompt) :] = torch.tensor(prompt)
        mask_PL[place, length - len(prompt) :] = 1
    return ids_PL.to(device), mask_PL.to(device)


def _waves(
    families: Sequence[tuple[list[int], list[Request]]], limit: int
) -> Iterator[list[tuple[list[int], list[Request]]]]:
    """Cut the families, shortest prompt first, into waves of at most `limit` rows; a larger family is cut as well."""
    wave: list[tuple[list[int], list[Request]]] = []
    rows = 0
    for prompt_ids, family in families:
        for start in range(0, len(family), limit):
            part = family[start : start + limit]
            padded = rows >= _FEW and len(prompt_ids) > _PADDING * len(wave[0][0])
            if wave and (padded or rows + len(part) > limit):
                yield wave
                wave, rows = [], 0
            wave.append((prompt_ids, part))
            rows += len(part)
    if wave:
        yield wave


def _failed(request: Request, length: int, context: int) -> Candidate:
    why = f"the prompt has {length} tokens and leaves no room for a reply in the model's context of {context}"
    return Candidate(request.key, "", (), "failed", 0.0, 0.0, error=why)


def _free_memory(device: Any) -> int:
    """Bytes that are free on the device now."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)
