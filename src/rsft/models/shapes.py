"""How large a model's weights are, from the headers of their files: nothing is loaded."""

from __future__ import annotations

import re
from pathlib import Path

from rsft.models.references import files_of

_OUTSIDE = re.compile(r"embd|embed|lm_head|wte|wpe|^output\.")
Shapes = dict[str, tuple[int, ...]]


def weight_shapes(reference: str) -> Shapes:
    """The name and shape of each weight of a model that is on this disk (see `available`).

    Raises ModelError if it is not. A GGUF file has its own names; shapes are out × in, as in PyTorch.
    """
    shapes: Shapes = {}
    for file in files_of(reference):
        shapes |= _of_gguf(file) if file.suffix == ".gguf" else _of_safetensors(file)
    return shapes


def linear_shapes(shapes: Shapes) -> list[tuple[int, int]]:
    """The matrices that an adapter on all linear layers is put beside: neither embeddings nor the output layer."""
    return [(s[0], s[1]) for name, s in shapes.items() if len(s) == 2 and not _OUTSIDE.search(name)]


def _of_safetensors(file: Path) -> Shapes:
    from safetensors import safe_open

    with safe_open(file, framework="np") as weights:
        return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118


def _of_gguf(file: Path) -> Shapes:
    from gguf import GGUFReader

    return {tensor.name: tuple(map(int, reversed(tensor.shape))) for tensor in GGUFReader(file).tensors}
