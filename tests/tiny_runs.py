"""Runs that train a tiny model, in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

import rsft
from questions import write_questions
from rsft.loop import run

RECIPE = """
model: {model}
dtype: float32
prompts: {{train: train.jsonl, heldout: heldout.jsonl}}
sampling: {{candidates: 16, temperature: 0.9, max_tokens: 24}}
budget: {{stop_at_accepted: null, early_rejection: false}}
scorers: {{odd: mine.py:odd}}
selection: [odd >= 1]
training: {{lora: {lora}, learning_rate: 3.0e-2, epochs: 4, batch_size: 4}}
evaluation: {{samples: 0}}
guards: {{plateau: off}}
loop: {{iterations: 1, control: none}}
"""
SCORER = "def odd(replies):\n    return [len(reply.text) % 2 for reply in replies]\n"


def trained_run(folder: Path, model: Path | str, lora: str = "{rank: 4}") -> Path:
    """A run of one iteration, by whole weights where `lora` is null."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_questions(train=6, heldout=4)
        (folder / "mine.py").write_text(SCORER)
        (folder / "tiny.yaml").write_text(RECIPE.format(model=model, lora=lora))
        run(rsft.load_recipe("tiny.yaml", "run=runs/tiny"))
    return folder / "runs/tiny"
