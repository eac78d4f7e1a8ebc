"""Running a transformers model with our attention in it, and finding out whether that can be done."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AttentionInterface

from rsft.engines.local.attention import UnknownAttention, attend, check_arguments
from rsft.engines.local.linear import pack_linears
from rsft.engines.local.pages import LayerShape
from rsft.engines.local.passes import Pass
from rsft.errors import ModelError

_KNOWN_LAYERS = {"full_attention", "sliding_attention"}


class ServedModel:
    """A twin of a transformers causal model: the same weights, and our attention in place of the model's own.

    The model itself stays as it is, so that others may use it between two passes. `shapes` tells what each attention
    layer keeps of a token. Raises ModelError, with the reason, for a model that can't be served so.
    """

    def __init__(self, module: Any, name: str) -> None:
        try:
            _check(module)
            shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
            self.twin = copy.deepcopy(module, shared)
            self.shapes = _shapes(self.twin)
        except _Unserved as reason:
            kind = type(module).__name__
            raise ModelError(f"The engine 'local' can't sample from the model '{name}' ({kind}): {reason}.") from None
        _use(self.twin, "rsft_texts", attend)
        pack_linears(self.twin)

    def logits(self, texts: Pass) -> Any:
        """Logits of the pass's wanted tokens, (wanted, V)."""
        return _run(self.twin, texts.ids_N, texts.positions_N, texts.wanted, texts=texts)


class _Unserved(Exception):
    """Why a model can't be served."""


def _check(module: Any) -> None:
    """Raise for what its configuration says against it."""
    config = module.config.get_text_config()
    if module.config.is_encoder_decoder:
        raise _Unserved("it has an encoder, and only decoders are served")
    kinds = set(getattr(config, "layer_types", None) or ()) - _KNOWN_LAYERS
    if kinds:
        raise _Unserved(f"it has layers of the kind {', '.join(sorted(kinds))}, and only ordinary attention is served")
    if getattr(config, "num_kv_shared_layers", 0):
        raise _Unserved("some of its layers use other layers' keys and values")
    if not module._can_set_attn_implementation():
        raise _Unserved("its attention can't be replaced, because its code does not use AttentionInterface")


def _shapes(twin: Any) -> list[LayerShape]:
    """What each attention layer keeps of a token, found by running one token through the model."""
    layers: dict[int, LayerShape] = {}
    windows: dict[int, int | None] = {}

    def look(module: Any, query: Any, key: Any, value: Any, *_: Any, **said: Any) -> tuple[Any, None]:
        if "texts" not in said:
            raise _Unserved("it does not pass arguments on to its attention")
        # Whatever would change what is computed is refused here, not in the middle of a run.
        try:
            check_arguments(said)
        except UnknownAttention as unknown:
            raise _Unserved(str(unknown)) from None
        layers[module.layer_idx] = LayerShape(key.shape[1], key.shape[3], value.shape[3])
        windows[module.layer_idx] = said.get("sliding_window")
        return query.new_zeros(1, query.shape[2], query.shape[1], value.shape[3]), None

    _use(twin, "rsft_look", look)
    one = torch.zeros(1, dtype=torch.long, device=twin.device)
    try:
        with torch.inference_mode():
            _run(twin, one, one, one, texts=None)
    except (TypeError, AttributeError, ValueError) as error:
        raise _Unserved(f"it can't be run over tokens of many texts in one row ({error})") from error
    if not layers or sorted(layers) != list(range(len(layers))):
        raise _Unserved("its attention layers are not numbered from 0 on")
    kinds: Sequence[str] = getattr(twin.config.get_text_config(), "layer_types", None) or ()
    for number, kind in enumerate(kinds):
        if kind == "sliding_attention" and windows.get(number) is None:
            raise _Unserved(f"layer {number} has a sliding window and does not say so to its attention")
    return [layers[number] for number in range(len(layers))]


def _use(twin: Any, name: str, attention: Any) -> None:
    AttentionInterface.register(name, attention)
    twin.set_attn_implementation(name)


def _run(twin: Any, ids_N: Any, positions_N: Any, wanted: Any, **to_attention: Any) -> Any:
    out = twin(
        input_ids=ids_N[None],
        position_ids=positions_N[None],
        use_cache=False,
        logits_to_keep=wanted,
        **to_attention,
    )
    return out.logits[0]
