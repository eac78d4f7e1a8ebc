"""The bundled characters and the bundled small talk: made by their generators, and fit to teach and to measure."""

import json

import pytest
from bundled import SPLITS, Row, rows

SIZES = {"character": {"train": 240, "heldout": 150}, "social": {"train": 192, "heldout": 128}}
BOTH = tuple(SIZES)


def every(name: str) -> list[Row]:
    return rows(name, "train") + rows(name, "heldout")


def turns(row: Row) -> list[str]:
    return [message["content"] for message in row["messages"]]


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
