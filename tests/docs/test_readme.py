"""A README is short, shows every command, and its scorer is the example's. (Its blocks and links are checked like those
of every document.)"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from command_lines import commands_in, group
from documents import READMES, ROOT, blocks, name_of, of_type

from rsft.scorers import build_scorers, run_scorer
from rsft.types import Message, Prompt, Reply

pytestmark = pytest.mark.parametrize("readme", READMES, ids=name_of)

TURNS = (Message("user", "Hi"),)


def test_its_scorer_is_the_example(readme: Path) -> None:
    (block,) = blocks("python", among=[readme])
    known, unknown = Prompt("a", TURNS, TURNS, {"name": "Ada"}), Prompt("b", TURNS, TURNS)
    replies = [Reply(known, "Hello ADA!"), Reply(known, "Hello!"), Reply(unknown, "Hello!")]
    for source in (block.text, (ROOT / "examples/custom_scorer.py").read_text(encoding="utf-8")):
        told: dict[str, Any] = {}
        exec(compile(source, "custom_scorer.py", "exec"), told)
        assert [score and score.value for score in told["greets_by_name"](replies)] == [1.0, 0.0, None]


def test_the_example_can_be_named_in_a_recipe(readme: Path) -> None:
    (named,) = set(re.findall(r"examples/custom_scorer\.py:\w+", readme.read_text(encoding="utf-8")))
    scorer = build_scorers({"polite": f"{ROOT}/{named}"})["polite"]
    (score,) = run_scorer(scorer, [Reply(Prompt("a", TURNS, TURNS, {"name": "Ada"}), "Good day, Ada.")])
    assert (score.value, score.explanation) == (1.0, "says 'Ada'")


def test_every_command_is_in_it(readme: Path) -> None:
    said = [token.content for token in of_type(readme, "code_inline") if token.content.startswith("rsft ")]
    named = {words[0] for line in said for _, words in commands_in(line) if words}
    assert named >= set(group().commands)


def test_it_is_short_and_its_numbers_are_there(readme: Path) -> None:
    text = readme.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert not re.search(r"\b[A-Z]+_[A-Z_]*(TABLE|OUTPUT|MINUTES)\b", text)
