"""The shipped recipes for chats on bundled conversations: what their rules say of replies, and a run in miniature."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import rsft
from rsft.loop import run
from rsft.scorers import Scorer, build_scorers
from rsft.scorers.run import run_scorer
from rsft.selection import Pool, parse_selection
from rsft.setup import read_prompts
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey, Prompt, Reply

NAMES = ("demo", "service", "character", "social")
WHOLE = ("prompts.train_limit=null", "prompts.heldout_limit=null")


@cache
def scorers_of(name: str) -> Mapping[str, Scorer]:
    return build_scorers(rsft.load_recipe(name).scorers)


@cache
def prompts_of(name: str) -> Sequence[Prompt]:
    train, heldout, _ = read_prompts(rsft.load_recipe(name, *WHOLE))
    return (*train, *heldout)


def verdicts(name: str, replies: Sequence[Reply]) -> list[str]:
    """Of each reply alone, the rule that decides on it, by those rules that judge a reply by itself."""
    rules = parse_selection(rsft.load_recipe(name).selection).leading
    scores = {each: run_scorer(scorer, replies) for each, scorer in scorers_of(name).items()}
    candidates = [
        Candidate(CandidateKey(1, reply.prompt.id, place, "by hand"), reply.text, (), "stop", None, None)
        for place, reply in enumerate(replies)
    ]
    return [decision.rule for decision in rules.decide(Pool.of(candidates, scores))]


@pytest.mark.parametrize("name", ["character", "social"])
def test_every_reference_passes_every_rule(name: str) -> None:
    replies = [Reply(prompt, str(prompt.fields["reference"])) for prompt in prompts_of(name)]
    rules = verdicts(name, replies)
    assert [(r.text, rule) for r, rule in zip(replies, rules, strict=True) if rule != "accepted"] == []


def test_what_people_of_the_shop_would_write_passes_but_for_a_few() -> None:
    prompts = [prompt for prompt in prompts_of("service") if "heldout" in prompt.id]
    rules = verdicts("service", [Reply(prompt, str(prompt.fields["reference"])) for prompt in prompts])
    assert set(rules) <= {"accepted", "consistent >= 1", "relevant >= 0.45"}
    assert rules.count("accepted") >= 0.97 * len(rules)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Heron Couriers will bring your parcel on Tuesday.", "accepted"),
        ("Heron Couriers will bring it.", "facts >= 1"),
        ("Heron Couriers will bring your parcel on Tuesday at 7 pm.", "consistent >= 1"),
        ("Heron Couriers will bring it on Tuesday, guaranteed.", "policy >= 1"),
        ("Heron Couriers come on Tuesday; may I have your card number?", "policy >= 1"),
        ("I'm sorry for your loss. Heron Couriers will bring it on Tuesday.", "tone >= 1"),
        ("Heron Couriers will bring it.\nOn Tuesday.", "tidy >= 1"),
        ("Tell me in one sentence that Heron Couriers come on Tuesday.", "own_words >= 1"),
    ],
)
def test_what_the_rules_say_of_the_shop(text: str, rule: str) -> None:
    facts = {"facts": {"carrier": "Heron Couriers", "delivery day": "Tuesday"}}
    assert verdicts("service", [Reply(chat([("user", "When does my parcel come?")], facts), text)]) == [rule]


@pytest.mark.parametrize("name", NAMES)
def test_each_scorer_selects_and_another_one_watches(name: str) -> None:
    recipe = rsft.load_recipe(name)
    rules = parse_selection(recipe.selection)
    assert {used for rule in rules.rules for used in rule.scorers_used} == set(recipe.scorers)
    watching = recipe.evaluation.scorers
    assert watching
    assert not set(watching) & set(recipe.scorers)


CAT = {
    "persona": "Your name is Mira Vale. You keep a lighthouse. You live on Gull Rock. Your cat is called Biscuit."
    " You love smoked herring. You are afraid of thick fog.",
    "tell": "your cat is called Biscuit",
    "asked": {"companion": "Biscuit"},
    "unasked": {"home": "Gull Rock", "food": "smoked herring", "fear": "thick fog"},
}
PIANO = {"about": ["piano", "fingers"], "never": ["stupid", "good idea"]}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("My cat Biscuit is with me, and he thinks the lamp is his.", "accepted"),
        ("I am all alone up here, with only the wind.", "answers >= 1"),
        ("I live on Gull Rock, I love smoked herring, and my cat is Biscuit.", "recites <= 0.34"),
        ("My cat is called Biscuit, and my brother Albert has three dogs.", "consistent >= 1"),
        ("Biscuit is the cat of the lighthouse.", "in_person >= 1"),
        ("My cat is called Biscuit, and he", "in_person >= 1"),
        ("Your cat is called Biscuit, and your name is Mira Vale, says my cat.", "in_character >= 1"),
        ("I am happy to help, and my cat is called Biscuit.", "in_character >= 1"),
        ("My cat Biscuit purrs. My cat Biscuit purrs. My cat Biscuit purrs.", "fresh >= 0.8"),
        ("I polish the lamp by day and by night while my cat Biscuit looks on.", "fresh >= 0.8"),
        ("My Biscuit.", "short >= 1"),
    ],
)
def test_what_the_rules_say_of_a_character(text: str, rule: str) -> None:
    said = ("user", "How are you?"), ("assistant", "I polish the lamp by day and by night."), ("user", "All alone?")
    assert verdicts("character", [Reply(chat(said, CAT), text)]) == [rule]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Your fingers will find their way; which piece on the piano do you dream of?", "accepted"),
        ("How nice, and what do you like about it?", "takes_up >= 0.01"),
        ("The piano is a large instrument with many keys.", "asks_you >= 1"),
        ("Does your piano teacher Albert know?", "consistent >= 1"),
        ("Is the piano not too hard for your stupid fingers?", "unkind <= 0"),
        ("You should try to relax your fingers at the piano, will you?", "no_lecture >= 1"),
        ("What is your address, so that I can hear your piano?", "private >= 1"),
        ("I am here to listen, so what do your fingers say of the piano?", "natural >= 1"),
        ("What is new with you, what is new with you and the piano?", "fresh >= 0.8"),
        ("Do you think that single malt tastes of fingers?", "relevant >= 0.3"),
    ],
)
def test_what_the_rules_say_of_small_talk(text: str, rule: str) -> None:
    last = "I am learning the piano at last. My fingers won't do what I want."
    said = ("user", "Hi!"), ("assistant", "I am all ears. What is new with you?"), ("user", last)
    assert verdicts("social", [Reply(chat(said, PIANO), text)]) == [rule]


def chat(said: Sequence[tuple[str, str]], fields: dict[str, Any]) -> Prompt:
    turns = tuple(rsft.Message(role, content) for role, content in said)
    return Prompt("by hand", turns, turns, fields)


@pytest.mark.parametrize(("name", "first"), [("character", "answers >= 1"), ("social", "takes_up >= 0.01")])
def test_the_recipe_runs_to_its_end_in_miniature(name: str, first: str, tmp_path: Path) -> None:
    """A fake model is handed the reference as the last turn: it says that, or what the rules are there for."""
    recipe = rsft.load_recipe(
        name,
        f"run={tmp_path / name}",
        "model=none",
        "engine={type: scripted, replies: ['Fine.', '{prompt} {prompt}', '{prompt}'], lessons: ['{prompt}']}",
        "prompts.train_limit=6",
        "prompts.heldout_limit=8",
        "prompts.template={user: '{{ reference }}'}",
        "sampling.max_tokens=400",
        "training={type: 'null'}",
        "loop.iterations=1",
    )
    summary = run(recipe)
    assert summary["finished"]
    (iteration,) = summary["iterations"]
    assert iteration["rejected_by"][first] > 0
    assert summary["base"]["heldout_acceptance"]["value"] == 0
    assert iteration["heldout_acceptance"]["value"] == 1
    references = {prompt.id: prompt.fields["reference"] for prompt in prompts_of(name)}
    with RunFolder.open(tmp_path / name, write=False) as folder:
        drawn = {c.key: c.text for c in folder.candidates()}
        decided = folder.decisions("policy")
    accepted = {key for key, said in decided.items() if said.accepted}
    good = {key for key in decided if drawn[key] == references[key.prompt_id]}
    assert accepted
    assert accepted <= good
    assert {key.prompt_id for key in accepted} == {key.prompt_id for key in good}
