"""The loop and its twin without a framework accept the same candidates."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

import rsft
from rsft.store import RunFolder

EXAMPLE = Path(__file__).parents[2] / "examples" / "rsft_loop.py"


def twin() -> Any:
    spec = importlib.util.spec_from_file_location("rsft_loop", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_twin_accepts_the_same(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    alone = twin()
    rows = [
        {"id": f"p{i}", "messages": [{"role": "user", "content": f"Question {i}" + "?" * i}], "facts": [fact]}
        for i, fact in enumerate(["", "a", "e", "i", "o", "t", " ", ""])
    ]
    Path("train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    Path("mine.py").write_text(
        "def every_fact(replies):\n    return [all(f in r.text for f in r.prompt.fields['facts']) for r in replies]\n"
    )
    Path("twin.yaml").write_text(f"""
model: {tiny_folder}
dtype: float32
seed: {alone.SEED}
prompts: {{train: train.jsonl}}
sampling: {{candidates: {alone.CANDIDATES}, temperature: {alone.TEMPERATURE}, max_tokens: {alone.MAX_TOKENS}}}
budget: fixed
scorers: {{facts: mine.py:every_fact}}
selection: [facts >= 1, {{cap: {alone.CAP}}}]
training:
  lora: null
  learning_rate: {alone.LEARNING_RATE}
  epochs: {alone.EPOCHS}
  batch_size: 1000
  schedule: constant
  warmup_share: 0
loop: {{iterations: {alone.ITERATIONS}, control: none}}
""")
    rsft.run("twin.yaml")
    with RunFolder.open(Path("runs/twin"), write=False) as folder:
        ours = {
            (key.iteration, key.prompt_id, key.sample_index)
            for key, decision in folder.decisions("policy").items()
            if decision.accepted
        }
    theirs = alone.main(str(tiny_folder), "train.jsonl")
    assert len(theirs) == len(set(theirs))
    assert {iteration for iteration, *_ in theirs} == {1, 2}
    assert ours == set(theirs)
