"""The bundled requests to an assistant: made by their generator, and fit to teach and to measure."""

from __future__ import annotations

import json
import runpy
from typing import Any

import pytest
from bundled import DATA, ROOT, rows

import rsft
from rsft.prompts import load_prompts
from rsft.scorers import build_scorers, run_scorer
from rsft.types import Reply

SIZES = {"train": 260, "heldout": 160}

ROWS = {split: rows("assistant", split) for split in SIZES}
ALL = ROWS["train"] + ROWS["heldout"]
CALLS = [row for row in ALL if "json_schema" in row["constraints"]]
TEXTS = [row for row in ALL if "json_schema" not in row["constraints"]]


def said(split: str) -> str:
    """All that is said in a split's conversations, in lower case."""
    return "\n".join(message["content"].lower() for row in ROWS[split] for message in row["messages"])


@pytest.fixture(scope="module")
def phrases() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "assistant_phrases.py"))


@pytest.mark.parametrize("split", SIZES)
def test_sizes_and_ids(split: str) -> None:
    assert [row["id"] for row in ROWS[split]] == [f"assistant-{split}-{n:04d}" for n in range(1, SIZES[split] + 1)]


def test_no_conversation_occurs_twice() -> None:
    assert len({json.dumps(row["messages"]) for row in ALL}) == len(ALL)


def test_held_out_asks_what_train_never_asked() -> None:
    kinds = {split: {row["kind"] for row in rows} for split, rows in ROWS.items()}
    assert len(kinds["train"]) >= 20
    assert kinds["train"] < kinds["heldout"]
    new = kinds["heldout"] - kinds["train"]
    assert {"decline", "birthday", "book_table", "find_route"} <= new
    assert sum(row["kind"] in new for row in ROWS["heldout"]) >= 0.2 * SIZES["heldout"]


def test_the_splits_share_no_value_topic_or_wording(phrases: dict[str, Any]) -> None:
    shared = {"day", "state"}
    pools = phrases["POOLS"]
    assert pools["train"].keys() - shared <= pools["heldout"].keys()
    for name in pools["train"].keys() - shared:
        assert not set(pools["train"][name]) & set(pools["heldout"].get(name, ())), name
    for task in phrases["TASKS"]:
        if task.topics:
            assert not task.topics["train"].keys() & task.topics["heldout"].keys(), task.name
    for form in phrases["FORMS"].values():
        assert not set(form["train"]) & set(form["heldout"])
    texts = {split: said(split) for split in SIZES}
    for split, other in (("train", "heldout"), ("heldout", "train")):
        for name in ("person", "gift", "thing", "chore", "news", "dish", "place"):
            for value in pools[split][name]:
                assert f" {value.lower()} " not in texts[other], f"{value} of {split}"


def test_no_request_of_held_out_is_one_of_train() -> None:
    def last(split: str) -> set[str]:
        return {row["messages"][-1]["content"] for row in ROWS[split]}

    assert not last("train") & last("heldout")


def test_every_reference_passes_every_rule_of_the_recipe() -> None:
    recipe = rsft.load_recipe("assistant")
    rules = [rule for rule in recipe.selection if isinstance(rule, str) and ">=" in rule]
    assert len(rules) == 4
    scorers = build_scorers(recipe.scorers)
    for split in SIZES:
        replies = [
            Reply(prompt, prompt.fields["reference"])
            for prompt in load_prompts(str(DATA / f"assistant.{split}.jsonl.gz"))
        ]
        for rule in rules:
            name, _, least = rule.split()
            for reply, score in zip(replies, run_scorer(scorers[name], replies), strict=True):
                assert score.value is not None, f"{reply.prompt.id} {rule}: {score.failure}"
                assert score.value >= float(least), f"{reply.prompt.id} {rule}: {score}"


def test_one_row_in_two_is_a_call_and_its_schema_allows_no_other() -> None:
    assert len(CALLS) == pytest.approx(len(ALL) / 2, abs=2)
    check = build_scorers({"asked": "constraints"})["asked"]
    prompts = {p.id: p for split in SIZES for p in load_prompts(str(DATA / f"assistant.{split}.jsonl.gz"))}
    for row in CALLS:
        call = json.loads(row["reference"])
        assert call["tool"] == row["kind"]
        tools = row["messages"][0]
        assert tools["role"] == "system"
        assert f"{call['tool']}({', '.join(list(call)[1:])})" in tools["content"]
        assert all(str(value) in row["request"] for name, value in call.items() if name != "tool"), row["id"]
        wrong = [{name: value for name, value in call.items() if name != lost} for lost in call]
        wrong += [call | {"tool": "other"}, call | {"more": 1}, *(call | {name: "x"} for name in call)]
        for said_wrong in wrong:
            assert check.score([Reply(prompts[row["id"]], json.dumps(said_wrong))])[0].value == 0


def test_a_request_says_what_is_asked_of_its_reply(phrases: dict[str, Any]) -> None:
    """All that is checked can be read in the request, but for one thing: that a reply doesn't begin by repeating it."""
    for row in TEXTS:
        asked, request = row["constraints"], row["messages"][-1]["content"].lower()
        for word in asked.get("keywords", []):
            assert word.lower() in request, row["id"]
        for word in asked["forbidden"]:
            assert word.lower() in request, row["id"]
        if "starts_with" in asked:
            assert asked["starts_with"].strip('"').lower() in request, row["id"]
        for name, told in {
            "no_commas": "comma",
            "quoted": "quotation",
            "case": "lowercase",
            "bullets": "bullet",
        }.items():
            assert (name in asked) == (told in request), row["id"]
        if "words" in asked:
            assert f"{asked['words']['most']} words" in request, row["id"]
        if "sentences" in asked:
            assert f"{phrases['NUMBERS'].get(asked['sentences'], 'sentence')}" in request, row["id"]


def test_conversations_are_short_and_end_with_the_user() -> None:
    for row in ALL:
        roles = [message["role"] for message in row["messages"] if message["role"] != "system"]
        assert roles in (["user", "assistant"] * n + ["user"] for n in range(3)), row["id"]
        assert sum(len(message["content"].split()) for message in row["messages"]) <= 110, row["id"]
        assert row["messages"][-1]["content"].startswith(row["request"])


def test_every_phrase_is_filled_and_clean() -> None:
    for row in TEXTS:
        for text in (*(message["content"] for message in row["messages"]), row["reference"]):
            assert not any(flaw in text for flaw in ("{", "}", "  ", "..", ",,", "?.", " ,", " .")), row["id"]
