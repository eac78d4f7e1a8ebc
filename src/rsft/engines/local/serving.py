"""Running a transformers model with our attention in it."""

from __future__ import annotations

import copy
from typing import Any

from rsft.engines.local.attention import attend
from rsft.engines.local.pages import LayerShape
from rsft.engines.local.passes import Pass
from rsft.errors import ModelError
from rsft.models.attention import UnknownAttention, probe_attention, run_tokens, use_attention
from rsft.models.linear import pack_linears


class ServedModel:
    """A twin of a transformers causal model: the same weights, and our attention in place of the model's own.

    The model itself stays as it is, so that others may use it between two passes. `shapes` tells what each attention
    layer keeps of a token. Raises ModelError, with the reason, for a model that can't be served so.
    """

    def __init__(self, module: Any, name: str) -> None:
        shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
        try:
            self.twin = copy.deepcopy(module, shared)
            self.shapes = [LayerShape(*shape) for shape in probe_attention(self.twin, "texts")]
        except UnknownAttention as reason:
            kind = type(module).__name__
            raise ModelError(f"The engine 'local' can't sample from the model '{name}' ({kind}): {reason}.") from None
        use_attention(self.twin, "rsft_texts", attend)
        pack_linears(self.twin)

    def logits(self, texts: Pass) -> Any:
        """Logits of the pass's wanted tokens, (wanted, V)."""
        return run_tokens(self.twin, texts.ids_N, texts.positions_N, texts.wanted, texts=texts)
