"""The bundled shop conversations: made by their generator, and fit to teach and to measure."""

import runpy

import pytest
from bundled import ROOT, SPLITS, Row, rows

SIZES = {"train": 280, "heldout": 150}

ROWS = {split: rows("shop", split) for split in SPLITS}
ALL = ROWS["train"] + ROWS["heldout"]


def conversation(row: Row) -> str:
    return "\n".join(message["content"] for message in row["messages"])


def openings(split: str) -> set[str]:
    """What customers of one-message conversations wrote."""
    return {conversation(row) for row in ROWS[split] if len(row["messages"]) == 1}


def intents(split: str) -> set[str]:
    return {row["intent"] for row in ROWS[split]}


@pytest.mark.parametrize("split", SPLITS)
def test_sizes_and_ids(split: str) -> None:
    expected = [f"shop-{split}-{number:04d}" for number in range(1, SIZES[split] + 1)]
    assert [row["id"] for row in ROWS[split]] == expected


def test_no_conversation_occurs_twice() -> None:
    assert len({conversation(row) for row in ALL}) == len(ALL)


def test_held_out_asks_what_train_never_asked() -> None:
    assert len(intents("train") | intents("heldout")) >= 14
    assert len(intents("heldout") - intents("train")) >= 2
    assert not openings("train") & openings("heldout")


def test_the_splits_share_no_product_person_or_place() -> None:
    pools = runpy.run_path(str(ROOT / "tools" / "shop_phrases.py"))["POOLS"]
    for name in ("person", "town", "street", "carrier", "bike", "tent", "instrument", "gear", "course"):
        assert not set(pools["train"][name]) & set(pools["heldout"][name]), name


def test_conversations_are_short_and_end_with_the_customer() -> None:
    words = [len(conversation(row).split()) for row in ALL]
    assert max(words) <= 110
    assert 35 <= sum(words) / len(words) <= 50
    for row in ALL:
        roles = [message["role"] for message in row["messages"]]
        assert roles in (["user", "assistant"] * n + ["user"] for n in range(3)), row["id"]


def test_the_reference_states_every_fact_in_one_short_line() -> None:
    for row in ALL:
        reference = row["reference"]
        assert 2 <= len(row["facts"]) <= 4, row["id"]
        assert all(value.lower() in reference.lower() for value in row["facts"].values()), row["id"]
        assert "\n" not in reference, row["id"]
        assert len(reference.split()) <= 40, row["id"]


def test_the_customer_rarely_knows_the_facts_already() -> None:
    told = [row for row in ALL if any(value in conversation(row) for value in row["facts"].values())]
    assert len(told) <= len(ALL) // 20


def test_every_phrase_is_filled_and_clean() -> None:
    for row in ALL:
        for text in (conversation(row), row["reference"]):
            assert not any(flaw in text for flaw in ("{", "}", "  ", "..", ",,", "?.", " ,", " .")), row["id"]
