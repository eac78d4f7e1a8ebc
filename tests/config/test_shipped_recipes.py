"""Every recipe that is shipped can be run, and says what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

import public_sets
from rsft.config import load_recipe
from rsft.config.load import find_recipe, shipped_recipes
from rsft.plan import plan


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_can_be_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the data that they name: bundled, or a public set; `service_dialogues` alone takes files of the user's."""
    monkeypatch.chdir(tmp_path)
    public_sets.stand_in(monkeypatch)
    own = [f"prompts.{split}=bundled:shop.{split}.jsonl.gz" for split in ("train", "heldout")]
    planned = plan(load_recipe(name, own if name == "service_dialogues" else []))
    assert planned["prompts"]["train"]["count"] > 0
    assert planned["prompts"]["heldout"]["count"] > 0


@pytest.mark.parametrize("name", shipped_recipes())
def test_they_begin_by_saying_what_they_are_for(name: str) -> None:
    assert find_recipe(name).read_text(encoding="utf-8").startswith("# ")
