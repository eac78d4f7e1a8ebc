"""A finished run that trained a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_runs import trained_run


@pytest.fixture(scope="session")
def half_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model in bf16."""
    import torch
    from transformers import AutoModelForCausalLM

    from tiny import save_model, tokenizer

    whole = save_model(tmp_path_factory.mktemp("whole"))
    folder = tmp_path_factory.mktemp("half")
    AutoModelForCausalLM.from_pretrained(whole, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory, half_base: Path) -> Path:
    return trained_run(tmp_path_factory.mktemp("adapters"), half_base)
