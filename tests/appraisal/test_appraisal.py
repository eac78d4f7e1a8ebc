"""How good a scorer is: trials that mean what they say, and numbers that a good and a bad scorer deserve."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rsft.appraisal import Trial, appraise, described, labelled, listed, trials_of
from rsft.appraisal.altered import altered, values_of
from rsft.appraisal.plot import plot
from rsft.appraisal.trials import with_reference
from rsft.errors import PromptError, RecipeError
from rsft.progress import Silent
from rsft.registry import SCORERS
from rsft.scorers import build_scorers
from rsft.scorers.readings import Reading
from rsft.types import Message, Prompt, Reply

CITIES = ["Oakland", "San Jose", "Fresno", "Napa", "Carmel", "Eureka", "Salinas", "Ventura"]


def prompt(number: int) -> Prompt:
    city, hour = CITIES[number % len(CITIES)], 1 + number % 11
    turns = (
        Message("user", f"Where are you, number {number}?"),
        Message("assistant", f"Do you ask for shop {number}?"),
        Message("user", "Yes, and when do you close?"),
    )
    facts = {"city": city, "closes": f"{hour}:30 pm", "open_on_sunday": "True"}
    reference = f"We are in {city} and close at {hour}:30 pm, also on Sunday" + " or so" * (number % 5) + "."
    return Prompt(f"p{number:02}", turns, turns, {"facts": facts, "reference": reference, "kind": number % 2})


PROMPTS = [prompt(number) for number in range(40)]


def trial(name: str, **options: Any) -> Trial:
    return next(one for one in trials_of(PROMPTS, **options) if one.name == name)


def test_an_altered_reply_no_longer_says_one_of_its_facts() -> None:
    values = values_of(PROMPTS)
    for one in PROMPTS:
        reference = one.fields["reference"]
        text = altered(reference, one, values, seed=0)
        assert text is not None
        assert text != reference
        said = [
            Reading(text).states(Reading(value))
            for value in (one.fields["facts"]["city"], one.fields["facts"]["closes"])
        ]
        assert sorted(said) == [False, True], "one fact is altered, and one alone"


@pytest.mark.parametrize(
    ("value", "text"), [("AB-19", "Your code is AB-19."), ("9", "There are 9."), ("109", "Room 109")]
)
def test_a_number_without_another_value_becomes_another_number(value: str, text: str) -> None:
    one = Prompt("p", (), (), {"facts": {"code": value}})
    changed = altered(text, one, values_of([one]), seed=0)
    assert changed is not None
    assert len(changed) == len(text)
    assert not Reading(changed).states(Reading(value))


@pytest.mark.parametrize(
    ("facts", "others", "text", "changed"),
    [
        ({"城市": "东京"}, {"城市": "大阪"}, "我们在东京开门。", "我们在大阪开门。"),
        ({"場所": "新宿駅"}, {"場所": "渋谷駅"}, "新宿駅の近くです。", "渋谷駅の近くです。"),
        ({"n": "4"}, {"n": "four"}, "At 4:30 we have 4 left.", r"At 4:30 we have [1-9] left\."),
        ({"at": "4:30 pm"}, {"at": "16:30"}, "We open at 4:30 pm.", r"We open at [1-9]:30 pm\."),
        ({"day": "March 1st"}, {"day": "1 March"}, "It is March 1st.", r"It is March [2-9](nd|rd|th)\."),
        ({"hour": "23:10"}, {}, "It leaves at 23:10.", r"It leaves at (1[3-9]|2[0-2]):10\."),
        ({"code": "7" * 5000}, {}, f"It is {'7' * 5000}.", r"It is 7+\d\."),
        ({"city": "Oakland"}, {"city": "oakland"}, "We are in Oakland.", None),
        ({"city": "York"}, {"city": "Leeds"}, "We are in Yorkshire.", None),
        ({"n": "4"}, {"n": "5"}, "We open at 4:30.", None),
        ({"city": "Rome", "at": "Rome, Via Po"}, {"city": "Bari"}, "Rome, Via Po.", "Bari, Via Po."),
    ],
)
def test_a_fact_is_altered_where_it_is_said_by_what_means_something_else(
    facts: dict[str, str], others: dict[str, str], text: str, changed: str | None
) -> None:
    one, other = (Prompt(name, (), (), {"facts": given}) for name, given in (("p", facts), ("q", others)))
    for seed in range(6):
        found = altered(text, one, values_of([one, other]), seed)
        assert re.fullmatch(changed, found or "") if changed else found is None, found
        assert found != text


def test_numbers_are_altered_both_ways() -> None:
    values = values_of(PROMPTS)
    hours = {altered("3:30 pm", Prompt("p", (), (), {"facts": {"closes": "3:30 pm"}}), values, s) for s in range(40)}
    assert hours - set(values["closes"]) == set(), "another number of an hour's form is one, too"
    lone = {altered("AB-3", Prompt("p", (), (), {"facts": {"code": "AB-3"}}), {"code": ["X9"]}, s) for s in range(40)}
    assert "X9" in lone
    assert len(lone) > 2


@pytest.mark.parametrize("facts", [None, {}, {"city": "Oakland"}, {"open": "True"}, {"open": True}, ["Oakland"]])
def test_what_can_not_be_altered_is_left_out(facts: Any) -> None:
    one = Prompt("p", (), (), {"facts": facts})
    assert altered("True, we are elsewhere.", one, {}, seed=0) is None


def test_no_reference_stands_against_itself_and_each_trial_means_what_it_says() -> None:
    made = {one.name: one for one in trials_of(PROMPTS, same="kind")}
    assert list(made) == ["relevance", "relevance_same", "consistency", "novelty"]
    for one in made.values():
        for good, bad in zip(one.good, one.bad, strict=True):
            assert good.prompt is bad.prompt
            assert good.text == good.prompt.fields["reference"] != bad.text
    kinds = {prompt.fields["reference"]: prompt.fields["kind"] for prompt in PROMPTS}
    assert all(kinds[reply.text] == reply.prompt.fields["kind"] for reply in made["relevance_same"].bad)
    assert all(reply.text.startswith("Well, do you ask for shop") for reply in made["novelty"].bad)


def test_trials_hang_on_the_seed_and_not_on_the_order() -> None:
    shuffled = random.Random(1).sample(PROMPTS, len(PROMPTS))
    assert trials_of(shuffled, same="kind") == trials_of(PROMPTS, same="kind")
    assert trials_of(PROMPTS, seed=1) != trials_of(PROMPTS)


def test_trials_do_not_hang_on_how_many_prompts_are_asked() -> None:
    whole = {(one.name, bad.prompt.id): bad.text for one in trials_of(PROMPTS, same="kind") for bad in one.bad}
    few = trials_of(with_reference(PROMPTS, seed=0)[:7], same="kind", among=PROMPTS)
    assert len(few) == 4
    for one in few:
        assert [bad.text for bad in one.bad] == [whole[one.name, bad.prompt.id] for bad in one.bad]


def test_the_prompts_that_are_asked_are_drawn_by_the_seed() -> None:
    shuffled = random.Random(1).sample(PROMPTS, len(PROMPTS))
    assert with_reference(shuffled, seed=0) == with_reference(PROMPTS, seed=0)
    assert with_reference(PROMPTS, seed=1) != with_reference(PROMPTS, seed=0)
    assert with_reference([Prompt("p", (), ()), PROMPTS[0]], seed=0) == PROMPTS[:1]


def test_a_reference_that_is_only_written_differently_is_not_a_wrong_reply() -> None:
    texts = ["We are open.", "we are  OPEN!", "We are closed."]
    made = trials_of([Prompt(str(n), (), (), {"reference": text}) for n, text in enumerate(texts)])
    bad = {reply.prompt.id: reply.text for reply in made[0].bad}
    assert bad["0"] == bad["1"] == "We are closed."
    assert bad["2"] != "We are closed."


def test_only_prompts_that_have_the_field_are_alike_in_it() -> None:
    some = [Prompt(p.id, (), (), p.fields | {"kind": None} if n < 10 else p.fields) for n, p in enumerate(PROMPTS)]
    alike = next(one for one in trials_of(some, same="kind") if one.name == "relevance_same")
    assert len(alike.good) == len(PROMPTS) - 10
    with pytest.raises(PromptError, match="Did you mean 'kind'"):
        trials_of(PROMPTS, same="knd")


@pytest.mark.parametrize(
    ("before", "repeated"),
    [
        ("Which city is that?", "Well, which city is that."),
        ("我们今天开门。", "我们今天开门!"),
        ("...", None),
        ("we are OPEN!", None),
    ],
)
def test_a_duplicate_is_what_was_said_before_a_little_changed(before: str, repeated: str | None) -> None:
    turns = (Message("user", "Hi"), Message("assistant", before), Message("user", "And?"))
    made = trials_of([Prompt("p", turns, turns, {"reference": "We are open."})])
    assert [reply.text for one in made for reply in one.bad] == ([repeated] if repeated else [])


def test_prompts_without_a_reference_are_told_what_is_needed() -> None:
    with pytest.raises(PromptError, match="--labels"):
        trials_of([Prompt("p", (), ())])


MINE = '''
import hashlib

def right(replies):
    """Knows the answer."""
    return [r.text == r.prompt.fields.get("reference", r.prompt.fields.get("chosen")) for r in replies]

def chance(replies):
    return [int(hashlib.sha256((r.prompt.id + r.text).encode()).hexdigest()[:8], 16) for r in replies]

def wordy(replies):
    return [float(len(r.text.split())) for r in replies]

def moody(replies, least: int = 14):
    return [None if len(r.text.split()) < least else float(len(replies)) for r in replies]
'''


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


def appraised(trials: Sequence[Trial], **scorers: Any) -> dict[str, Any]:
    return appraise(build_scorers(scorers), trials, Silent())


def test_a_scorer_that_knows_and_one_that_guesses(mine: str) -> None:
    said = appraised([trial("relevance")], right=f"{mine}:right", chance=f"{mine}:chance")
    right, chance = (said["scorers"][name]["trials"]["relevance"] for name in ("right", "chance"))
    assert right["auc"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": len(PROMPTS)}
    assert right["prefers"]["value"] == 1.0
    assert chance["auc"]["low"] < 0.5 < chance["auc"]["high"]
    assert not said["warnings"]


def test_a_score_that_is_only_length_is_named(mine: str) -> None:
    said = appraised([trial("relevance")], wordy=f"{mine}:wordy", shy={"type": "length", "max_words": 12})
    assert said["scorers"]["wordy"]["length_correlation"] == {"good": pytest.approx(1.0), "all": pytest.approx(1.0)}
    assert any("'wordy' prefers longer replies" in line and "+1.00" in line for line in said["warnings"])
    assert any("'shy' prefers shorter replies" in line for line in said["warnings"])
    assert said["correlations"]["good"]["wordy"]["shy"] == said["correlations"]["good"]["shy"]["wordy"] < -0.5


def test_what_failed_and_what_hangs_on_the_batch_is_named(mine: str) -> None:
    said = appraised([trial("relevance")], moody=f"{mine}:moody")["scorers"]["moody"]
    assert said["batch_difference"] > 30
    assert 0 < said["failed"] < 1
    assert "None" in said["first_failure"]
    lines = appraised([trial("relevance")], moody=f"{mine}:moody")["warnings"]
    assert any("in other batches" in line for line in lines)
    assert any("failed on" in line for line in lines)


def test_combined_scorers_are_appraised_too(mine: str) -> None:
    whole = {"type": "combined", "product": ["right", "wordy"]}
    said = appraised([trial("consistency")], whole=whole, right=f"{mine}:right", wordy=f"{mine}:wordy")
    assert said["scorers"]["whole"]["trials"]["consistency"]["auc"]["value"] == 1.0


def test_the_shipped_scorers_tell_an_altered_fact() -> None:
    said = appraised([trial("consistency")], facts="states_facts", given="contradicts_nothing")["scorers"]
    assert said["facts"]["trials"]["consistency"]["auc"]["value"] == 1.0
    assert said["given"]["trials"]["consistency"]["auc"]["value"] > 0.95


def test_labelled_rows(mine: str, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}]
    pairs = [{"id": f"a{n}", "messages": turns, "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(6)]
    single = [{"id": f"b{n}", "messages": turns, "reply": "hi " * n, "label": n > 4} for n in range(1, 10)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, [*pairs, *single])))
    made = labelled(str(tmp_path / "rows.jsonl"))
    assert [(one.name, len(one.good), len(one.bad), one.paired) for one in made] == [
        ("preference", 6, 6, True),
        ("label", 5, 4, False),
    ]
    said = appraised(made, right=f"{mine}:right", wordy=f"{mine}:wordy")["scorers"]
    assert said["right"]["trials"]["preference"]["prefers"]["value"] == 1.0
    assert said["wordy"]["trials"]["label"]["auc"]["value"] == 1.0
    assert said["wordy"]["trials"]["label"]["prefers"] is None


def test_labels_are_read_from_tables_too(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv.gz"
    file.write_bytes(gzip.compress("prompt,reply,label\nHi,你好,1\nHi,Go,0\nHi,Hello,true\n".encode()))
    (made,) = labelled(str(file))
    assert ([reply.text for reply in made.good], [reply.text for reply in made.bad]) == (["你好", "Hello"], ["Go"])


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        ({"reply": "a", "label": "maybe"}, "expected 1"),
        ({"chosen": [{"content": "a"}], "rejected": "b"}, "'chosen'"),
        ({"reply": None, "label": 1}, "the text of a reply"),
        ({"reply": "a"}, "neither 'chosen' and"),
        ({}, "no fields"),
    ],
)
def test_rows_that_are_not_labelled_are_refused(row: dict[str, Any], hint: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "x", "prompt": "Hi", **row}))
    with pytest.raises(PromptError, match=hint):
        labelled(str(tmp_path / "rows.jsonl"))


def test_every_scorer_is_listed_and_explained() -> None:
    assert {one["name"] for one in listed()} == set(SCORERS)
    assert all(len(one["says"]) > 10 for one in listed())
    for name in SCORERS:
        said = described(name)
        assert "mine:" in said["example"]
        assert not any(option["type"].endswith("ss") for option in said["options"])
        assert all(option["type"] and "typing" not in option["type"] for option in said["options"])
    with pytest.raises(RecipeError, match="states_facts"):
        described("state_facts")


def test_a_scorer_of_ones_own_is_explained_too(mine: str) -> None:
    said = described(f"{mine}:moody")
    assert said["options"] == [{"name": "least", "type": "", "default": "14", "description": ""}]


def test_a_picture_shows_every_scorer_in_every_trial(tmp_path: Path) -> None:
    brief = {"type": "length", "max_words": 12}
    said = appraised([trial("consistency"), trial("novelty")], facts="states_facts", brief=brief)
    plot(said, tmp_path / "found.svg")
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", (tmp_path / "found.svg").read_text())
    assert texts.count("consistency") == texts.count("novelty") == 3, "in the legend, and above each scorer's scores"
    assert texts.count("facts") == texts.count("brief") == 2, "among the AUCs, and beside its scores"


def test_a_picture_is_the_same_whatever_the_memory_holds(tmp_path: Path) -> None:
    brief = {"type": "length", "max_words": 12}
    said = appraised([trial("consistency"), trial("novelty")], facts="states_facts", brief=brief)
    pictures, held = set(), []
    for number in range(6):
        held.append([bytearray(16 + 50 * number) for _ in range(3000 * number)])
        plot(said, tmp_path / "found.svg")
        pictures.add((tmp_path / "found.svg").read_bytes())
    assert len(pictures) == 1


def test_a_scorer_that_failed_everywhere_has_no_point(mine: str, tmp_path: Path) -> None:
    said = appraised([trial("relevance")], mute={"type": f"{mine}:moody", "least": 999})
    assert said["scorers"]["mute"]["trials"]["relevance"] | {"auc": 0, "prefers": 0} == {
        "auc": 0,
        "prefers": 0,
        "n": len(PROMPTS),
        "failed": 2 * len(PROMPTS),
    }
    assert any("'mute' failed on 100.0%" in line for line in said["warnings"])
    plot(said, tmp_path / "found.svg")


def test_a_picture_that_can_not_be_written_is_a_users_mistake(tmp_path: Path) -> None:
    said = appraised([trial("consistency")], facts="states_facts")
    with pytest.raises(RecipeError, match="can't be written"):
        plot(said, tmp_path / "nowhere" / "found.svg")


def test_replies_are_the_nouns_of_all_scorers() -> None:
    assert all(isinstance(reply, Reply) for one in trials_of(PROMPTS) for reply in (*one.good, *one.bad))
