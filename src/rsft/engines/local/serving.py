"""Running a transformers model with our attention in it, and finding out whether that can be done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rsft.engines.local.pages import LayerShape
from rsft.engines.local.passes import Pass
from rsft.errors import ModelError

_TREE, _PROBE = "rsft_tree", "rsft_probe"
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}


class ServedModel:
    """A transformers causal model whose attention is ours while `logits` runs, and its own at all other times.

    Raises ModelError, with the reason, for a model that can't be served so.
    """

    def __init__(self, module: Any, name: str) -> None:
        self.module = module
        self.name = name
        self.shapes = self._checked_shapes()

    def logits(self, texts: Pass) -> Any:
        """Logits of the pass's wanted tokens, (wanted, V)."""
        return self._run(_TREE, texts.ids_N, texts.positions_N, texts.wanted, texts=texts)

    def _run(self, attention: str, ids_N: Any, positions_N: Any, wanted: Any, **more: Any) -> Any:
        with _attention(self.module, attention):
            out = self.module(
                input_ids=ids_N[None],
                position_ids=positions_N[None],
                use_cache=False,
                logits_to_keep=wanted,
                **more,
            )
        return out.logits[0]

    def _checked_shapes(self) -> list[LayerShape]:
        reason = _reason_against(self.module)
        if reason is None:
            try:
                return _shapes(self)
            except _Unserved as unserved:
                reason = str(unserved)
        raise ModelError(
            f"The engine 'local' can't sample from the model '{self.name}' ({type(self.module).__name__}): {reason}."
        )


class _Unserved(Exception):
    """Why a model can't be served."""


def _reason_against(module: Any) -> str | None:
    """What its configuration says against it."""
    config = module.config.get_text_config()
    if module.config.is_encoder_decoder:
        return "it has an encoder, and only decoders are served"
    kinds = set(getattr(config, "layer_types", None) or ()) - _KNOWN_LAYERS
    if kinds:
        return f"it has layers of the kind {', '.join(sorted(kinds))}, and only ordinary attention is served"
    if getattr(config, "num_kv_shared_layers", 0):
        return "some of its layers use other layers' keys and values"
    if not module._can_set_attn_implementation():
        return "its attention can't be replaced, because its code does not use transformers' AttentionInterface"
    return None


def _shapes(model: ServedModel) -> list[LayerShape]:
    """What each attention layer keeps of a token, found by running one token through the model."""
    import torch

    layers: dict[int, LayerShape] = {}
    windows: dict[int, int | None] = {}

    def look(module: Any, query: Any, key: Any, value: Any, *_: Any, **said: Any) -> tuple[Any, None]:
        if "probe" not in said:
            raise _Unserved("it does not pass arguments on to its attention")
        layers[module.layer_idx] = LayerShape(key.shape[1], key.shape[3], value.shape[3])
        windows[module.layer_idx] = said.get("sliding_window")
        return query.new_zeros(1, query.shape[2], query.shape[1], value.shape[3]), None

    _register(_PROBE, look)
    one = torch.zeros(1, dtype=torch.long, device=model.module.device)
    try:
        with torch.inference_mode():
            model._run(_PROBE, one, one, one, probe=True)
    except (TypeError, AttributeError, ValueError) as error:
        raise _Unserved(f"it can't be run one row of many texts at a time ({error})") from error
    if sorted(layers) != list(range(len(layers))) or not layers:
        raise _Unserved("its attention layers are not numbered from 0 on")
    _check_windows(model.module.config.get_text_config(), windows)
    return [layers[number] for number in range(len(layers))]


def _check_windows(config: Any, windows: dict[int, int | None]) -> None:
    """Raise for a layer with a sliding window that does not tell its attention of it."""
    kinds: Sequence[str] = getattr(config, "layer_types", None) or ()
    for number, kind in enumerate(kinds):
        if kind == "sliding_attention" and windows.get(number) is None:
            raise _Unserved(f"layer {number} has a sliding window and does not say so to its attention")


@contextmanager
def _attention(module: Any, name: str) -> Iterator[None]:
    """Another attention for a while. The model's own must be back when anyone else uses it."""
    from rsft.engines.local.attention import UnknownAttention, attend

    if name == _TREE:
        _register(_TREE, attend)
    before = module.config._attn_implementation
    module.set_attn_implementation(name)
    try:
        yield
    except UnknownAttention as unknown:
        raise ModelError(f"The engine 'local' can't sample from {type(module).__name__}: {unknown}.") from unknown
    finally:
        module.set_attn_implementation(before)


def _register(name: str, function: Any) -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(name, function)
