"""What a run was made with stands in its ledger, once for each change."""

from __future__ import annotations

from pathlib import Path

import pytest

import rsft
from rsft import surroundings
from rsft.store import RunFolder
from rsft.surroundings import note_surroundings, surroundings_of


def test_it_is_written_down_where_it_changes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunFolder.open(tmp_path / "run", write=True) as folder:
        note_surroundings(folder)
        note_surroundings(folder)
        (first,) = surroundings_of(folder)
        assert first["packages"]["rsft"] == rsft.__version__
        assert first["packages"].keys() >= {"torch", "transformers", "numpy"}
        version_of = surroundings.version_of
        monkeypatch.setattr(surroundings, "version_of", lambda name: "9.9" if name == "torch" else version_of(name))
        note_surroundings(folder)
        note_surroundings(folder)
        assert [said["packages"]["torch"] for said in surroundings_of(folder)] == [first["packages"]["torch"], "9.9"]
