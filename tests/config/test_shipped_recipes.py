"""Every recipe that is shipped can be run, and says what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsft.config import load_recipe
from rsft.config.load import find_recipe, shipped_recipes
from rsft.plan import plan


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_can_be_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is for a reader's own data is tried on the shop's."""
    monkeypatch.chdir(tmp_path)
    said = load_recipe(name).prompts
    own = [
        f"prompts.{split}=bundled:shop.{split}.jsonl.gz"
        for split, sources in (("train", said.train), ("heldout", said.heldout or []))
        if not all(source.startswith("bundled:") for source in sources)
    ]
    planned = plan(load_recipe(name, own))
    assert planned["prompts"]["train"]["count"] > 0
    assert planned["prompts"]["heldout"]["count"] > 0


@pytest.mark.parametrize("name", shipped_recipes())
def test_they_begin_by_saying_what_they_are_for(name: str) -> None:
    assert find_recipe(name).read_text(encoding="utf-8").startswith("# ")
