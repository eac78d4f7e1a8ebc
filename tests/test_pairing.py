"""Pairs of held-out replies: which are asked about and in which order, who is told what, and what the words come to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import rsft
from questions import write_questions
from rsft.errors import RecipeError, RunError
from rsft.loop import run
from rsft.metrics import mcnemar, win_rate
from rsft.pairing import Outcome, Pairing, Seen, Shown, outcome, outcomes
from rsft.pairs import Pairs, sides
from rsft.store import RunFolder
from rsft.types import Preference

RECIPE = """
model: none
engine:
  type: scripted
  replies: ["Good: {prompt}", "Good and well: {prompt}", "Bad: {prompt}", "Bad", "Good"]
  lessons: ["Good again: {prompt}", "Good: {prompt}", "Bad again"]
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 6, max_tokens: 40}
scorers: {polite: {type: format, pattern: "Good.*"}}
selection: [polite >= 1]
training: {type: "null"}
evaluation: {samples: 2}
guards: {plateau: off}
loop: {iterations: 2, control: random}
"""
HELDOUT = 120


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        Path("scripted.yaml").write_text(RECIPE)
        write_questions(train=8, heldout=HELDOUT)
        run(rsft.load_recipe("scripted.yaml", "run=bot"))
        return Path("bot").absolute()


@pytest.fixture
def bot(finished: Path, tmp_path: Path) -> Path:
    """The run's copy, which a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "bot"))


def pairs_of(bot: Path, one: str = "policy@2", other: str = "base") -> Pairs:
    with RunFolder.open(bot, write=False) as folder:
        return Pairs(folder, one, other)


def work(bot: Path, pairs: Pairs, do: Callable[[Pairing], None], labeller: str = "ann") -> Pairing:
    """A labeller sits down, does something, and goes."""
    with RunFolder.open(bot, write=True) as folder:
        pairing = Pairing(folder, pairs, labeller)
        do(pairing)
    return pairing


def say(*words: Seen) -> Callable[[Pairing], None]:
    def said(pairing: Pairing) -> None:
        for word in words:
            pairing.say(word)

    return said


def test_each_policy_that_was_measured_is_a_side(bot: Path) -> None:
    with RunFolder.open(bot, write=False) as folder:
        found = sides(folder)
    assert list(found) == ["base", "policy@1", "control@1", "policy@2", "control@2"]
    assert found["control@2"].in_words == "control of iteration 2"


def test_there_is_one_pair_of_greedy_replies_for_each_prompt(bot: Path) -> None:
    pairs = pairs_of(bot)
    assert sorted(pair.prompt.id for pair in pairs.order) == sorted(f"heldout{i}" for i in range(HELDOUT))
    for pair in pairs.order:
        assert pair.first.key.prompt_id == pair.second.key.prompt_id == pair.prompt.id
        assert (pair.first.key.sample_index, pair.second.key.sample_index) == (0, 0)
        assert pair.first.key.generator != pair.second.key.generator
    assert {pair.first.key.iteration for pair in pairs.order} == {0}


def test_the_order_is_random_the_same_again_and_another_one_for_other_policies(bot: Path) -> None:
    orders = [
        [pair.prompt.id for pair in pairs_of(bot, *of).order] for of in (("policy@2", "base"), ("base", "policy@2"))
    ]
    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])
    assert orders[0] != [pair.prompt.id for pair in pairs_of(bot, "policy@2", "control@1").order]


def test_sides_change_places_by_prompt_and_labeller_and_are_the_same_again(bot: Path) -> None:
    pairs = pairs_of(bot)
    for labeller in ("ann", "bob"):
        left = [pairs.left_is_first(pair, labeller) for pair in pairs.order]
        assert left == [pairs_of(bot, "base", "policy@2").left_is_first(pair, labeller) for pair in pairs.order]
        assert HELDOUT * 0.35 < sum(left) < HELDOUT * 0.65
        assert left not in ([True, False] * (HELDOUT // 2), [False, True] * (HELDOUT // 2))
    differ = sum(pairs.left_is_first(pair, "ann") != pairs.left_is_first(pair, "bob") for pair in pairs.order)
    assert HELDOUT * 0.3 < differ < HELDOUT * 0.7


def test_the_shuffle_is_undone_in_what_is_kept(bot: Path) -> None:
    pairs = pairs_of(bot)
    seen: list[Shown] = []

    def lefts(pairing: Pairing) -> None:
        for _ in range(20):
            assert pairing.next is not None
            seen.append(pairing.next)
            pairing.say("left")

    work(bot, pairs, lefts)
    with RunFolder.open(bot, write=False) as folder:
        kept = folder.preferences()
    assert {one.word for one in kept} == {"first", "second"}
    for one, shown in zip(kept, seen, strict=True):
        better = shown.pair.first if one.word == "first" else shown.pair.second
        assert better.text == shown.left != shown.right


def test_a_labeller_goes_on_where_it_stopped(bot: Path) -> None:
    pairs = pairs_of(bot)
    first = work(bot, pairs, say("left", "tie"))
    again = work(bot, pairs, say("skipped"))
    assert len(again.said) == 3
    assert again.queue == first.queue[1:]
    assert work(bot, pairs, say(), "bob").queue == list(pairs.asked)


def test_the_last_word_is_taken_back_and_asked_about_again(bot: Path) -> None:
    pairs = pairs_of(bot)
    before = work(bot, pairs, say("left"))

    def undo(pairing: Pairing) -> None:
        asked = pairing.next
        assert asked is not None
        pairing.say("tie")
        back = pairing.take_back()
        assert back is not None
        assert (back.said, back.pair) == ("tie", asked.pair)
        assert pairing.next == asked
        assert pairing.last is not None
        assert pairing.last.said == "left"

    after = work(bot, pairs, undo)
    assert (after.queue, after.said) == (before.queue, before.said)
    work(bot, pairs, lambda pairing: pairing.take_back())
    empty = work(bot, pairs, lambda pairing: [pairing.take_back() for _ in range(2)] and None)
    assert (empty.queue, empty.said, empty.last) == (list(pairs.asked), {}, None)


def test_wins_losses_and_ties_are_counted_as_they_were_said(bot: Path) -> None:
    pairs = pairs_of(bot, "policy@2", "base")
    ours = {pair.prompt.id: pair.second.text for pair in pairs.asked}

    def best(pairing: Pairing) -> None:
        for number in range(10):
            shown = pairing.next
            assert shown is not None
            good: Seen = "left" if shown.left == ours[shown.pair.prompt.id] else "right"
            bad: Seen = "right" if good == "left" else "left"
            pairing.say(good if number < 6 else bad if number < 8 else "tie" if number < 9 else "skipped")

    found = work(bot, pairs, best).outcome()
    assert (found.wins, found.losses, found.ties, found.skipped, found.equal) == (6, 2, 1, 1, 0)
    assert found.win_rate == win_rate(6, 2, 1)
    assert found.win_rate.value == (6 + 0.5) / 9
    assert found.p == mcnemar(2, 6)
    assert not found.differs


def test_to_name_the_sides_the_other_way_round_mirrors_the_outcome(bot: Path) -> None:
    one, other = pairs_of(bot, "policy@2", "base"), pairs_of(bot, "base", "policy@2")
    ours = work(bot, one, say(*["left"] * 17, "tie", "right")).outcome()
    theirs = work(bot, other, say()).outcome()
    assert (ours.wins, ours.losses, ours.ties, ours.left) == (theirs.losses, theirs.wins, theirs.ties, theirs.left)
    assert ours.win_rate.value == pytest.approx(1 - theirs.win_rate.value)
    assert ours.win_rate.low == pytest.approx(1 - theirs.win_rate.high)
    assert ours.p == theirs.p
    assert ours.left == 17


def alike(pairs: Pairs, places: set[int]) -> Pairs:
    """The pairs, those at some places of the order with the same text twice."""
    pairs.order = [
        replace(pair, second=replace(pair.second, text=f" {pair.first.text}\n")) if place in places else pair
        for place, pair in enumerate(pairs.order)
    ]
    return pairs


def test_equal_replies_are_ties_that_nobody_is_asked_about(bot: Path) -> None:
    pairs = alike(pairs_of(bot), {0, 2, 3, 6, 50})
    pairing = work(bot, pairs, say())
    assert len(pairing.queue) == HELDOUT - 5
    assert pairing.outcome().win_rate.n == 0
    pairing = work(bot, pairs, say("left", "tie", "left"))  # places 1, 4 and 5; 7 is next
    found = pairing.outcome()
    assert (found.ties, found.equal, found.win_rate.n) == (1, 4, 7)
    assert found.win_rate == win_rate(found.wins, found.losses, 5)
    pairing = work(bot, pairs, say(*["left"] * (HELDOUT - 8)))
    assert pairing.next is None
    assert (pairing.outcome().equal, pairing.outcome().win_rate.n) == (5, HELDOUT)


def test_words_after_the_result_was_shown_are_kept_and_count_apart(bot: Path) -> None:
    pairs = pairs_of(bot)
    work(bot, pairs, say("left", "tie"))
    work(bot, pairs, lambda pairing: pairing.open())
    pairing = work(bot, pairs, say("left", "left", "left"))
    assert pairing.opened
    assert [one.blind for one in pairing.said.values()] == [True, True, False, False, False]
    assert (pairing.outcome().said, pairing.outcome(blind=False).said) == (2, 5)
    assert not work(bot, pairs, say(), "bob").opened
    assert not work(bot, pairs_of(bot, "policy@2", "control@2"), say()).opened


def test_what_all_said_is_found_again_by_pair_and_labeller(bot: Path) -> None:
    pairs, others = pairs_of(bot), pairs_of(bot, "base", "control@1")
    work(bot, pairs, say("left", "right", "tie"))
    work(bot, pairs, say("tie"), "bob")
    work(bot, others, say("left", "tie"), "bob")
    with RunFolder.open(bot, write=False) as folder:
        found = outcomes(folder)
    assert [(one.one.name, one.other.name, one.labeller, one.said) for one in found] == [
        ("policy@2", "base", "ann", 3),
        ("policy@2", "base", "bob", 1),
        ("control@1", "base", "bob", 2),
    ]


def test_words_on_replies_that_are_gone_count_for_nothing(bot: Path) -> None:
    pairs = pairs_of(bot)
    pair = pairs.asked[0]
    gone = replace(pair.second.key, generator="of a policy that was trained again")
    with RunFolder.open(bot, write=True) as folder:
        folder.add_preferences([Preference(pair.first.key, gone, "ann", "first")])
        assert outcomes(folder) == []
        assert len(Pairing(folder, pairs, "ann").queue) == len(pairs.asked)


def test_an_outcome_of_nothing_says_nothing(bot: Path) -> None:
    found: Outcome = outcome(pairs_of(bot), {}, "ann")
    assert (found.said, found.win_rate.n, found.p, found.differs) == (0, 0, 1.0, False)


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("policy@3", "base", "Did you mean 'policy@"),
        ("base", "base", "same policy"),
        ("base", "control@9", "It has base, policy@1, control@1"),
    ],
)
def test_sides_that_can_not_be_compared_are_refused(one: str, other: str, why: str, bot: Path) -> None:
    with pytest.raises(RecipeError, match=why):
        pairs_of(bot, one, other)


def test_a_labeller_has_a_name(bot: Path) -> None:
    with pytest.raises(RecipeError, match="needs a name"):
        work(bot, pairs_of(bot), say(), " ")


def test_a_run_that_was_not_measured_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scripted.yaml").write_text(RECIPE)
    write_questions(train=8, heldout=6)
    run(rsft.load_recipe("scripted.yaml", "run=none", "prompts.heldout=null"))
    with RunFolder.open(Path("none"), write=False) as folder, pytest.raises(RunError, match=r"prompts\.heldout"):
        sides(folder)
    run(rsft.load_recipe("scripted.yaml", "run=one", "loop.iterations=1", "loop.control=none"))
    with RunFolder.open(Path("one"), write=True) as folder:
        folder.ledger.drop_stage(1, "policy", "evaluate")
        with pytest.raises(RunError, match=r"one policy only \(base\).*rsft resume one"):
            sides(folder)
        folder.ledger.drop_stage(0, "policy", "evaluate")
        with pytest.raises(RunError, match=r"no policy on held-out prompts yet.*rsft status one"):
            sides(folder)
