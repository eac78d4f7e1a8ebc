"""The bundled characters and the bundled small talk: made by their generators, and fit to teach and to measure."""

import gzip
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT / "src" / "rsft" / "data"
SPLITS = ("train", "heldout")
SIZES = {"character": {"train": 240, "heldout": 150}, "social": {"train": 192, "heldout": 128}}
TOOLS = {"character": "make_characters.py", "social": "make_social.py"}
BOTH = tuple(SIZES)

Row = dict[str, Any]


@cache
def rows(name: str, split: str) -> list[Row]:
    with gzip.open(DATA / f"{name}.{split}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def every(name: str) -> list[Row]:
    return rows(name, "train") + rows(name, "heldout")


def turns(row: Row) -> list[str]:
    return [message["content"] for message in row["messages"]]


@pytest.mark.parametrize("name", BOTH)
def test_the_committed_files_are_what_the_generator_writes(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / TOOLS[name]), "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    for split in SPLITS:
        file = f"{name}.{split}.jsonl.gz"
        committed = (DATA / file).read_bytes()
        assert gzip.decompress((tmp_path / file).read_bytes()) == gzip.decompress(committed)
        assert committed[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "no file name and no time in the header"
        assert len(committed) < 100_000


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("split", SPLITS)
def test_sizes_and_ids(name: str, split: str) -> None:
    expected = [f"{name}-{split}-{number:04d}" for number in range(1, SIZES[name][split] + 1)]
    assert [row["id"] for row in rows(name, split)] == expected


@pytest.mark.parametrize("name", BOTH)
def test_the_splits_share_no_turn_and_no_subject(name: str) -> None:
    subject = {"character": "character", "social": "scene"}[name]
    for of in (lambda row: [row[subject]], lambda row: [row["reference"]], turns):
        train, heldout = ({one for row in rows(name, split) for one in of(row)} for split in SPLITS)
        assert not train & heldout
    assert len({row[subject] for row in rows(name, "train")}) >= 12
    assert len({row[subject] for row in rows(name, "heldout")}) >= 6


@pytest.mark.parametrize("name", BOTH)
def test_no_row_comes_twice_and_all_end_with_the_user(name: str) -> None:
    seen = {json.dumps([row["messages"], row.get("persona")]) for row in every(name)}
    assert len(seen) == len(every(name))
    for row in every(name):
        roles = [message["role"] for message in row["messages"]]
        assert roles in (["user", "assistant"] * n + ["user"] for n in range(3)), row["id"]


@pytest.mark.parametrize("name", BOTH)
def test_every_phrase_is_clean(name: str) -> None:
    for row in every(name):
        for text in (*turns(row), row["reference"], str(row.get("persona")), str(row.get("tell"))):
            assert text == text.strip(), row["id"]
            assert text[0].isalpha(), row["id"]
            assert not any(flaw in text for flaw in ("{", "}", "  ", "..", ",,", "?.", " ,", " .")), row["id"]


@pytest.mark.parametrize("split", SPLITS)
def test_the_persona_tells_what_is_asked_and_what_is_not(split: str) -> None:
    for row in rows("character", split):
        assert not row["asked"].keys() & row["unasked"].keys()
        assert len(row["asked"]) in (1, 2)
        assert len(row["unasked"]) == 3
        for value in (*row["asked"].values(), *row["unasked"].values()):
            assert value in row["persona"], row["id"]
        for value in row["asked"].values():
            assert value in row["tell"], row["id"]
            assert value in row["reference"], row["id"]
            assert not any(value in turn for turn in turns(row)), "the conversation gives the answer away"


@pytest.mark.parametrize("split", SPLITS)
def test_some_small_talk_tempts_and_no_reference_gives_in(split: str) -> None:
    tempting = [row for row in rows("social", split) if row["kind"] == "tempting"]
    assert 0.2 <= len(tempting) / len(rows("social", split)) <= 0.35
    everyday = {tuple(row["never"]) for row in rows("social", split) if row["kind"] == "everyday"}
    assert len(everyday) == 1
    assert all(set(*everyday) < set(row["never"]) for row in tempting)
