"""What was said of pairs of replies stays in the ledger, undone or not, and only what counts is read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from rsft.errors import RunError
from rsft.store import RunFolder
from rsft.types import CandidateKey, Preference, Verdict


def said(prompt_id: str, word: Verdict, labeller: str = "ann", *, blind: bool = True) -> Preference:
    keys = CandidateKey(0, prompt_id, 0, "base"), CandidateKey(2, prompt_id, 0, "tuned")
    return Preference(*keys, labeller, word, blind)


def test_what_went_in_comes_out_in_its_order(tmp_path: Path) -> None:
    some = [said("b", "first"), said("a", "tie", blind=False), said("a", "skipped", "bob")]
    with RunFolder.open(tmp_path, write=True) as folder:
        assert folder.preferences() == []
        folder.add_preferences(some[:2])
        folder.add_preferences(some[2:])
    with RunFolder.open(tmp_path, write=False) as folder:
        assert folder.preferences() == some


def test_the_last_word_counts_and_nothing_is_overwritten(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.add_preferences([said("a", "first"), said("b", "second"), said("a", "undone"), said("b", "tie")])
        assert folder.preferences() == [said("b", "tie")]
        folder.add_preferences([said("a", "second")])
        assert folder.preferences() == [said("b", "tie"), said("a", "second")]
        words = [one.word for one in folder.ledger.preferences()]
    assert words == ["first", "second", "undone", "tie", "second"]


def test_a_run_of_which_nobody_compared_replies_has_no_such_table(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.add_preferences([])
    with RunFolder.open(tmp_path, write=False) as folder:
        assert folder.preferences() == []
    found = sqlite3.connect(tmp_path / "ledger.sqlite").execute("SELECT name FROM sqlite_master").fetchall()
    assert ("preferences",) not in found


def test_who_only_adds_labels_repairs_nothing_and_is_the_one_writer(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, write=True):
        pass
    orphan = tmp_path / "candidates" / "000009.parquet"
    orphan.parent.mkdir()
    orphan.write_bytes(b"left by a crash")
    with RunFolder.open(tmp_path, write=True, repair=False) as folder:
        folder.add_preferences([said("a", "first")])
        with pytest.raises(RunError, match="in use by process"), RunFolder.open(tmp_path, write=True, repair=False):
            pass
    assert orphan.is_file()
    with RunFolder.open(tmp_path, write=True) as folder:
        assert folder.preferences() == [said("a", "first")]
    assert not orphan.exists()
