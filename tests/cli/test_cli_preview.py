"""`rsft preview`: what is shown of packs is what is trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import rsft
import rsft.preview as preview_module
from rsft.cli.app import app
from rsft.types import Candidate, CandidateKey
from tiny import tokenizer

QUESTIONS = ["Do you open on Sundays, please?", "Where is the shop that you opened last?"]
REPLIES = ["At nine.", "Ten, as always."]


@pytest.fixture
def recipe(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("train.jsonl").write_text("\n".join(json.dumps({"id": q[:5], "prompt": q}) for q in QUESTIONS))
    Path("mine.yaml").write_text(f"""
model: {tiny_folder}
prompts: {{train: train.jsonl, system: You answer in one line.}}
sampling: {{candidates: 2, max_tokens: 4}}
scorers: {{short: {{type: length, max_words: 20}}}}
selection: [short >= 1]
training: {{lora: {{rank: 2}}}}
""")
    return "mine.yaml"


def tokens_of(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        token
        for pack in said["packs"]
        for stretch in pack["stretches"]
        for block in stretch["blocks"]
        for token in block
    ]


def test_each_token_is_there_once_and_what_is_learnt_is_marked(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = tokenizer()

    def drawn(_recipe: Any, _engine: Any, prompts: Any) -> Any:
        return [
            (prompt, Candidate(CandidateKey(0, prompt.id, n, "g"), text, (*words.encode(text), end), "stop", 0, 0))
            for prompt in prompts
            for end in [words.convert_tokens_to_ids("<|im_end|>")]
            for n, text in enumerate(REPLIES)
        ]

    monkeypatch.setattr(preview_module, "_drawn", drawn)
    said = preview_module.preview(rsft.load_recipe(recipe), 2)
    tokens = tokens_of(said)
    assert sum(token["read"] for token in tokens) == said["read_tokens"] < said["row_tokens"]
    assert sum(token["learnt"] for token in tokens) == sum(row["reply"] for row in said["rows"])
    assert not any(token["learnt"] for token in tokens if token["text"] in ("?", "<|im_start|>"))
    unread = [token["text"] for token in tokens if not token["read"]]
    assert unread == ["<|im_end|>"] * 4, "the end of a reply is learnt, and nothing behind it"
    (pack,) = said["packs"]
    text = ["".join(token["text"] for block in stretch["blocks"] for token in block) for stretch in pack["stretches"]]
    for number, question in enumerate(sorted(QUESTIONS)):
        conversation, replies = pack["stretches"][2 * number + 1], pack["stretches"][2 * number + 2]
        assert question in text[2 * number + 1]
        assert conversation["sees"] == [0], "what the conversations begin with is shared"
        assert replies["sees"] == [0, 2 * number + 1]
        assert len(replies["blocks"]) == 2


def test_the_command_says_what_was_cut(recipe: str) -> None:
    """Four tokens are too few for a tiny model at random: its replies are cut, and not learnt."""
    said = json.loads(CliRunner().invoke(app, ["preview", recipe, "--json"]).stdout)
    assert len(said["cut"]) + len(said["rows"]) == 6
    assert said["cut"]
    shown = CliRunner().invoke(app, ["preview", recipe])
    assert shown.exit_code == 0
    assert "cut by the length limit" in shown.stdout


def test_other_trainers_have_nothing_to_preview(recipe: str) -> None:
    with pytest.raises(rsft.errors.RecipeError, match="makes no packs"):
        preview_module.preview(rsft.load_recipe(recipe, "training={type: 'null'}"), 2)
