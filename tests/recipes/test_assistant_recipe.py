"""The shipped recipe for assistants in miniature: a fake says good and bad replies, and the rules tell them apart."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

import rsft
from rsft.loop import run
from rsft.prompts import load_prompts
from rsft.store import RunFolder
from rsft.types import Prompt

DATA = Path(rsft.__file__).parent / "data"
STALE, OFF_TOPIC, PARROT = "Go to bed early.", "Bananas are yellow.", "I will sleep well in one sentence."
TIP = {
    "id": "tip",
    "messages": [
        {"role": "user", "content": "Give me a tip for sleeping well. Use one sentence."},
        {"role": "assistant", "content": STALE},
        {"role": "user", "content": "Give me another tip for sleeping well. Use one sentence."},
    ],
    "request": "Give me another tip for sleeping well.",
    "constraints": {"sentences": 1},
    "reference": "Keep your bedroom dark and cool and sleep well.",
}


def row_of(prompt: Prompt) -> dict[str, Any]:
    messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
    return {"id": prompt.id, "messages": messages, **prompt.fields}


def rows_of(split: str, *kinds: str) -> list[dict[str, Any]]:
    """The first bundled row of each kind."""
    prompts = load_prompts(str(DATA / f"assistant.{split}.jsonl.gz"))
    return [row_of(next(prompt for prompt in prompts if prompt.fields["kind"] == kind)) for kind in kinds]


def write(name: str, rows: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_what_is_accepted_is_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train = [TIP, *rows_of("train", "set_alarm", "add_item", "pack", "favour")]
    write("train.jsonl", train)
    write("heldout.jsonl", rows_of("heldout", "book_table", "decline"))
    good = {row["id"]: row["reference"] for row in train}
    alarm, item = (json.loads(row["reference"]) for row in train[1:3])
    bad = [
        *(STALE, OFF_TOPIC, PARROT),
        f"```json\n{json.dumps(alarm)}\n```",
        f"Sure: {json.dumps(item)}",
        json.dumps(alarm | {"label": "anything"}),
        json.dumps(item | {"more": True}),
        *(message["content"] for row in train[1:3] for message in row["messages"] if message["role"] == "assistant"),
        *(f"{row['reference']} And more of the same, {'very ' * 30}often." for row in train[3:]),
    ]
    overrides = {
        "run": "run", "model": "none", "training": {"type": "null"},
        "engine": {"type": "scripted", "replies": [*good.values(), *bad], "lessons": [*good.values()]},
        "prompts.train": "train.jsonl", "prompts.heldout": "heldout.jsonl",
        "sampling.candidates": 96, "sampling.max_tokens": 400, "budget": "fixed", "loop.iterations": 1,
    }  # fmt: skip
    summary = run(rsft.load_recipe("assistant", *(f"{key}={json.dumps(value)}" for key, value in overrides.items())))
    assert summary["finished"]

    with RunFolder.open(Path("run"), write=False) as folder:
        texts = {candidate.key: candidate.text for candidate in folder.candidates()}
        decisions = folder.decisions("policy")
    accepted: dict[str, set[str]] = defaultdict(set)
    rules: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for key, decision in decisions.items():
        rules[key.prompt_id][decision.rule].add(texts[key])
        if decision.accepted:
            accepted[key.prompt_id].add(texts[key])
    assert accepted == {prompt: {reply} for prompt, reply in good.items()}, "each prompt's own reply and no other"
    assert rules["tip"]["fresh >= 0.5"] == {STALE}
    assert rules["tip"]["relevant >= 0.35"] >= {OFF_TOPIC}
    assert any(PARROT.startswith(text) for text in rules["tip"]["own_words >= 1"])
    for row in train[1:3]:
        assert rules[row["id"]].keys() == {"accepted", "no_near_duplicates", "asked >= 1"}, "a call is asked for"
