"""How likely a model holds replies to be. Each conversation is read once for all replies to it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rsft.models.attention import UnknownAttention, probe_attention, run_tokens, use_attention
from rsft.models.linear import pack_linears
from rsft.models.network import Network
from rsft.models.packed_attention import attend
from rsft.models.packing import Pack, ReplyRow, pack, packs

# Tokens in one pass: many enough for the matrix products, and few enough for their logits' memory.
_PASS_TOKENS = 1024


class Likelihood:
    """A network asked for likelihoods. Its own weights stay as they are: a twin that shares them does the work.

    A model whose attention can't be replaced reads each reply behind its conversation, one at a time.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        module = network.plain()
        shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
        self._twin = copy.deepcopy(module, shared)
        try:
            probe_attention(self._twin, "pack")
        except UnknownAttention:
            self._twin, self._shares = module, False
        else:
            use_attention(self._twin, "rsft_pack", attend)
            self._shares = True
        pack_linears(self._twin)

    def of(self, rows: Sequence[ReplyRow], temperature: float = 1.0) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
        """The log-probability, in nats, of each token of each row's reply, at a temperature."""
        said: list[np.ndarray[Any, np.dtype[np.float32]]] = [np.empty(0, dtype=np.float32)] * len(rows)
        if self._shares:
            for one in packs(rows, _PASS_TOKENS):
                logprobs_T = self._logprobs(one, temperature)
                for number in one.rows_T.unique().tolist():
                    said[number] = logprobs_T[one.rows_T == number].numpy()
        else:
            for number, row in enumerate(rows):
                said[number] = self._logprobs(pack([row]), temperature).numpy()
        return said

    @torch.inference_mode()
    def _logprobs(self, texts: Pack, temperature: float) -> Any:
        """(T,), in the pack's order, on the CPU."""
        texts = texts.to(self.network.device)
        to_attention = {"pack": texts} if self._shares else {}
        logits_TV = run_tokens(self._twin, texts.ids_N, texts.positions_N, texts.sources_T, **to_attention)
        if len(logits_TV) != len(texts.sources_T):  # a model that can't leave logits out
            logits_TV = logits_TV[texts.sources_T]
        logits_TV = logits_TV.float() / temperature
        return -torch.nn.functional.cross_entropy(logits_TV, texts.targets_T, reduction="none").cpu()
