"""Putting attention of our own into a transformers model, and finding out whether that can be done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

_KNOWN_LAYERS = {"full_attention", "sliding_attention"}
# What our attention uses (dropout in training only), and what models pass along that changes nothing: positions are in
# rotated queries and keys.
_KNOWN = frozenset(
    [
        "scaling",
        "sliding_window",
        "softcap",
        "dropout",
        "position_ids",
        "cache_position",
        "use_cache",
        "output_attentions",
        "output_hidden_states",
        "is_causal",
    ]
)


class UnknownAttention(Exception):
    """Why the model's attention can't be replaced, to go on with 'it ...'."""


def check_arguments(said: Mapping[str, Any], ours: Collection[str] = ()) -> None:
    """Raise UnknownAttention where a model asks for what is neither known here nor one of our own arguments."""
    unknown = sorted(name for name, given in said.items() if given is not None and name not in _KNOWN | set(ours))
    if unknown:
        raise UnknownAttention(f"its attention takes {', '.join(unknown)}")


def use_attention(module: Any, name: str, attention: Callable[..., tuple[Any, None]]) -> None:
    """Register `attention` under a name, and make the model call it."""
    from transformers import AttentionInterface

    AttentionInterface.register(name, attention)
    module.set_attn_implementation(name)


def probe_attention(module: Any, argument: str) -> list[tuple[int, int, int]]:
    """Whether a model's attention can be replaced, found by running one token through it: of each layer, the key-value
    heads and the widths of a key and of a value. The model is left with a stand-in for its attention.

    Raises UnknownAttention with the reason if it can't, or if the model would not give its attention `argument`.
    """
    import torch

    _check_config(module)
    layers: dict[int, tuple[int, int, int]] = {}
    windows: dict[int, int | None] = {}

    def look(layer: Any, query: Any, key: Any, value: Any, *_: Any, **said: Any) -> tuple[Any, None]:
        if argument not in said:
            raise UnknownAttention("it does not pass arguments on to its attention")
        # Whatever would change what is computed is refused here, not in the middle of a run.
        check_arguments(said, {argument})
        layers[layer.layer_idx] = key.shape[1], key.shape[3], value.shape[3]
        windows[layer.layer_idx] = said.get("sliding_window")
        return query.new_zeros(1, query.shape[2], query.shape[1], value.shape[3]), None

    use_attention(module, "rsft_look", look)
    one = torch.zeros(1, dtype=torch.long, device=module.device)
    try:
        with torch.inference_mode():
            run_tokens(module, one, one, one, **{argument: None})
    except (TypeError, AttributeError, ValueError) as error:
        raise UnknownAttention(f"it can't be run over tokens of many texts in one row ({error})") from error
    if not layers or sorted(layers) != list(range(len(layers))):
        raise UnknownAttention("its attention layers are not numbered from 0 on")
    kinds = getattr(module.config.get_text_config(), "layer_types", None) or ()
    for number, kind in enumerate(kinds):
        if kind == "sliding_attention" and windows.get(number) is None:
            raise UnknownAttention(f"layer {number} has a sliding window and does not say so to its attention")
    return [layers[number] for number in range(len(layers))]


def run_tokens(module: Any, ids_N: Any, positions_N: Any, wanted_W: Any, **to_attention: Any) -> Any:
    """Logits, (W, V), of the wanted ones of N tokens in one row."""
    out = module(
        input_ids=ids_N[None],
        position_ids=positions_N[None],
        use_cache=False,
        logits_to_keep=wanted_W,
        **to_attention,
    )
    return out.logits[0]


def _check_config(module: Any) -> None:
    """Raise for what its configuration says against it."""
    config = module.config.get_text_config()
    if module.config.is_encoder_decoder:
        raise UnknownAttention("it has an encoder, and only decoders are served")
    kinds = set(getattr(config, "layer_types", None) or ()) - _KNOWN_LAYERS
    if kinds:
        raise UnknownAttention(
            f"it has layers of the kind {', '.join(sorted(kinds))}, and only ordinary attention is served"
        )
    if getattr(config, "num_kv_shared_layers", 0):
        raise UnknownAttention("some of its layers use other layers' keys and values")
    if not module._can_set_attn_implementation():
        raise UnknownAttention("its attention can't be replaced, because its code does not use AttentionInterface")
