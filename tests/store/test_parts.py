"""A run that is read in parts says what it says as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsft import aside, parts
from rsft.aside import Aside
from rsft.calibrating import calibrate
from rsft.config import recipe_yaml
from rsft.config.load import validate
from rsft.distributions import distributions
from rsft.errors import RunError
from rsft.groups import Groups
from rsft.ids import Ids
from rsft.labelling import Frame, Labelling
from rsft.parts import StoredParts, whole_pool
from rsft.reading import prompts_of
from rsft.report.closest import closest_calls
from rsft.report.difficulty import train_by_difficulty
from rsft.reselection import reselect
from rsft.saved import saved_recipe
from rsft.selection import parse_selection
from rsft.store import RunFolder, ScoreRow, segments
from rsft.types import Candidate, CandidateKey, Message, Prompt, Score

SCORERS = {"facts": "f1", "relevance": "r1"}
RULES = ["facts >= 0.5", "relevance >= 0.3", {"top_k": {"k": 2, "by": "relevance"}}]
PROMPTS = 40
OTHER: list[list[Any]] = [
    ["facts >= 1", {"quantile": {"share": 0.4, "by": "relevance"}}],
    [{"balance": 3}, {"cap": 2}],
    ["relevance >= 0.2", {"length_matched": {"bins": 3, "by": "facts"}}, "no_duplicates"],
    [{"better_than": {"baseline": "greedy", "by": "relevance"}}, {"agreement": {"least": 0.3}}],
    [{"statistical_rejection": {"temperature": 0.3, "by": "relevance", "per": "all"}}, {"most_novel": 1}],
    ["facts >= 0.5", {"no_duplicates": {"across_prompts": True}}],
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose rows lie in any order: late ones of early prompts, scores that were made good, held-out replies, a
    baseline and another arm's candidates among them. A prompt rests."""
    path = tmp_path_factory.mktemp("parts") / "run"
    chance = np.random.default_rng(5)
    said = {"run": str(path), "model": "none", "prompts": {"train": "none.jsonl"}, "selection": RULES}
    said |= {"scorers": dict.fromkeys(SCORERS, "one_line"), "sampling": {"candidates": 6}, "baselines": ["greedy"]}
    prompts = [Prompt(f"{number * 7919 % 997:03x}", (Message("user", f"q {number}"),), ()) for number in range(PROMPTS)]
    heldout = [Prompt("kept", (Message("user", "q"),), ())]
    with pytest.MonkeyPatch.context() as patched, RunFolder.open(path, write=True) as folder:
        patched.setattr(segments, "MERGED_AT_ONCE", 4)
        patched.setattr(segments, "GROUP_ROWS", 16)
        patched.setattr(segments, "_SMALL_ROWS", (16, 48))
        folder.write_text("recipe.yaml", recipe_yaml(validate(said, where="test")))
        folder.save_prompts(prompts, heldout)
        folder.note_scorers(SCORERS, {})
        keys = [
            CandidateKey(1, prompt.id, index, "g1" if chance.random() < 0.9 else "g2")
            for prompt in (*prompts[:20], *prompts[21:], *heldout)
            for index in range(int(chance.integers(1, 9)))
        ]
        keys = [keys[at] for at in np.argsort(np.arange(len(keys)) + chance.exponential(30, len(keys)))]
        keys += [CandidateKey(1, prompt.id, 0, "greedy") for prompt in prompts[::2]]
        candidates = [_candidate(key, chance) for key in keys]
        for start in range(0, len(keys), 11):
            some = candidates[start : start + 11]
            folder.commit(candidates=some, scores=[row for one in some for row in _scores(one.key, chance)])
        for key in keys[::5]:
            made_good = ScoreRow(key, "relevance", "r1", Score(float(chance.random())))
            folder.commit(scores=[made_good], known_scores="skip")
        done = {"generators": ["g1", "g2"], "baselines": {"greedy": "greedy"}}
        folder.finish_stage(1, "policy", "sample", done)
        stored = whole_pool(folder, 1, SCORERS)
        folder.decide("policy", zip(stored.keys.all(1), parse_selection(RULES).decide(stored.pool), strict=True))
    return path


def _candidate(key: CandidateKey, chance: np.random.Generator) -> Candidate:
    text = " ".join(chance.choice(["yes", "no", "perhaps", "7", "8"], int(chance.integers(1, 6))))
    ends: Any = chance.choice(["stop", "length", "ended"], p=[0.8, 0.1, 0.1])
    by = "facts >= 0.5" if ends == "ended" else None
    return Candidate(key, text, tuple(range(int(chance.integers(1, 9)))), ends, -1.0, -1.0, ended_by=by)


def _scores(key: CandidateKey, chance: np.random.Generator) -> list[ScoreRow]:
    said = Score(float(chance.random())) if chance.random() < 0.8 else Score.failed("no")
    facts = ScoreRow(key, "facts", "f1", Score(float(chance.integers(0, 4)) / 3, "some"))
    return [facts, ScoreRow(key, "relevance", "r1", said), ScoreRow(key, "relevance", "old", Score(9.0))]


@pytest.fixture(params=[3, 17, 60])
def in_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From then on runs are read in parts of so many candidates, which go by way of a file."""

    def begin() -> None:
        monkeypatch.setattr(parts, "PART", request.param)
        monkeypatch.setattr(aside, "_WAITING", 64)

    return begin


def about(said: Any) -> Any:
    """Numbers without their last digits: sums of parts are rounded elsewhere."""
    if isinstance(said, float):
        return pytest.approx(said, rel=1e-12, nan_ok=True)
    if isinstance(said, dict):
        return {name: about(value) for name, value in said.items()}
    return type(said)(map(about, said)) if isinstance(said, (list, tuple)) else said


def test_parts_hold_what_the_whole_holds(run: Path, in_parts: Callable[[], None]) -> None:
    with RunFolder.open(run, write=False) as folder:
        whole = StoredParts(folder, 1, SCORERS)
        in_parts()
        stored = StoredParts(folder, 1, SCORERS)
        assert (whole.count, len(stored)) == (1, len(whole))
        assert stored.count > 2
        assert stored.ranges == whole.ranges
        (only,) = whole
        place_of = {key: place for place, key in enumerate(only.keys.all(1))}
        seen: list[str] = []
        for part in stored:
            keys = list(part.keys.all(1))
            places = np.array([place_of.pop(key) for key in keys])
            assert stored.keys_of(np.arange(part.start, part.start + len(keys))) == keys
            assert stored.places_of(keys).tolist() == list(range(part.start, part.start + len(keys)))
            assert (part.accepted_N == only.accepted_N[places]).all()
            assert [stored.rules[n] for n in part.rule_N] == [whole.rules[n] for n in only.rule_N[places]]
            for name in SCORERS:
                assert np.array_equal(part.pool.scores[name], only.pool.scores[name][places], equal_nan=True)
                lines, of_all = (pool.baselines["greedy"][name][pool.prompt_N] for pool in (part.pool, only.pool))
                assert np.array_equal(lines, of_all[places], equal_nan=True)
            assert (part.pool.lots_N == only.pool.lots_N[places]).all()
            assert (part.pool.whole_N == only.pool.whole_N[places]).all()
            assert list(part.pool.texts) == [only.pool.texts[place] for place in places]
            ended = part.pool.details.ended_by(np.arange(len(keys)))
            assert list(ended) == list(only.pool.details.ended_by(places))
            for place, other in enumerate(places.tolist()):
                if not part.pool.whole_N[place]:
                    assert part.pool.details.end(place) == only.pool.details.end(other)
                assert part.pool.details.score("facts", place) == only.pool.details.score("facts", other)
            seen += part.pool.prompt_ids
        assert not place_of
        assert len(seen) == len(set(seen)) == PROMPTS - 1
        some = np.array([len(stored) - 1, 0, 5])
        texts = stored.texts_of(some)
        by_key = dict(zip(only.keys.all(1), only.pool.texts, strict=True))
        assert [texts[place] for place in some.tolist()] == [by_key[key] for key in stored.keys_of(some)]
        nobody = CandidateKey(1, "kept", 0, "g1")
        assert stored.places_of([nobody, *stored.keys_of(some)]).tolist() == [-1, *some.tolist()]


@pytest.mark.parametrize("rules", OTHER, ids=str)
def test_selected_again_in_parts_is_selected_again(run: Path, rules: list[Any], in_parts: Callable[[], None]) -> None:
    override = [f"selection={json.dumps(rules)}"]
    (whole,) = reselect(run, override)["iterations"]
    in_parts()
    (said,) = reselect(run, override)["iterations"]
    assert 0 < whole["now"]["accepted"] < whole["candidates"]
    assert said == about(whole)


def test_kept_decisions_are_the_same(run: Path, in_parts: Callable[[], None], tmp_path: Path) -> None:
    import shutil

    copied = shutil.copytree(run, tmp_path / "run")
    override = [f"selection={json.dumps(OTHER[0])}"]
    reselect(copied, override, "whole")
    in_parts()
    reselect(copied, override, "parted")
    with RunFolder.open(copied, write=False) as folder:
        assert folder.decisions("whole", iteration=1) == folder.decisions("parted", iteration=1)
    assert not [file for file in copied.iterdir() if "tmp" in file.name], "nothing is left beside it"


def test_a_report_counts_the_same(run: Path, in_parts: Callable[[], None]) -> None:
    def said() -> Any:
        with RunFolder.open(run, write=False) as folder:
            calls = closest_calls(folder, saved_recipe(run), 7)
            return distributions(run), calls, train_by_difficulty(folder), vars_of(prompts_of(run, 1))

    def vars_of(fared: Any) -> Any:
        return fared.prompts, fared.states, fared.rows

    whole = said()
    in_parts()
    assert said() == about(whole)


@pytest.mark.parametrize("verifier", ["facts >= 0.6", "no_duplicates"])
def test_a_draw_is_the_same(run: Path, verifier: str, in_parts: Callable[[], None]) -> None:
    recipe = saved_recipe(run)

    def said() -> Any:
        with RunFolder.open(run, write=False) as folder:
            frame = Frame(folder, recipe, "relevance", 1)
            keys = [frame.stored.keys_of(places) for places in (frame.places, frame.aimed)]
            labels = Labelling(folder, frame, "rule", "calibration").labels_by_rules(parse_selection([verifier]), 12)
            asked = Labelling(folder, frame, "ann", "aimed").next()
            left = [frame.is_left(place) for place in frame.stored.places_of([*keys[0], *keys[1]]).tolist()]
            return keys, frame.scores.tolist(), frame.values("facts").tolist(), labels, asked, all(left)

    whole = said()
    in_parts()
    assert said() == whole


def test_a_calibration_is_the_same(run: Path, in_parts: Callable[[], None], tmp_path: Path) -> None:
    import shutil

    copied = shutil.copytree(run, tmp_path / "run")
    with RunFolder.open(copied, write=True) as folder:
        frame = Frame(folder, saved_recipe(copied), "relevance", 1)
        Labelling(folder, frame, "rule", "calibration").say_by_rules(parse_selection(["facts >= 0.6"]), 20)
    whole = calibrate(copied, "relevance", 0.4, 0.7)
    assert whole["labels"] == 20
    in_parts()
    assert calibrate(copied, "relevance", 0.4, 0.7) == whole


def test_before_all_is_decided_only_what_is_drawn_counts(run: Path, in_parts: Callable[[], None]) -> None:
    with RunFolder.open(run, write=False) as folder:
        whole = whole_pool(folder, 1, SCORERS, "nobody")
        assert set(whole.keys.all(1)) == set(folder.decisions("policy", iteration=1)), "neither held-out nor baselines"
        in_parts()
        stored = StoredParts(folder, 1, SCORERS, "nobody")
        assert {key for part in stored for key in part.keys.all(1)} == set(whole.keys.all(1))
        assert not stored.decided
        assert not any(part.accepted_N.any() for part in stored)
        with pytest.raises(RunError, match="has not drawn all candidates of iteration 2"):
            StoredParts(folder, 2, SCORERS)
        assert len(StoredParts(folder, 2, SCORERS, unfinished=True)) == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), max_size=9), max_size=12),
    st.integers(1, 100),
)
def test_what_is_put_aside_comes_back(
    tmp_path_factory: Any, batches: list[list[tuple[int, int]]], waiting: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(aside, "_WAITING", waiting)
        kept = Aside(np.int32, 5, tmp_path_factory.getbasetemp())
        for batch in batches:
            part_R, rows_R = (np.array([row[column] for row in batch], dtype=np.int32) for column in (0, 1))
            kept.sort_in(part_R, rows_R)
        for part in range(5):
            wanted = [value for batch in batches for of, value in batch if of == part]
            assert kept.rows(part).tolist() == wanted
            assert kept.count_P[part] == len(wanted)


def test_a_disk_that_is_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(aside, "_WAITING", 1)
    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(RunError, match=r"No space left on device\. Free some space"):
        Aside(np.int32, 2, tmp_path).add(1, np.zeros(3, dtype=np.int32))


def test_a_folder_that_can_not_be_written_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "_WAITING", 1)
    kept = Aside(np.int32, 2, tmp_path / "missing")
    kept.add(1, np.arange(3, dtype=np.int32))
    assert kept.rows(1).tolist() == [0, 1, 2]


def test_ids_are_told_apart_whatever_their_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = [f"prompt {number}" for number in range(50)], [f"other {number}" for number in range(9)]
    for hashes in (hash, lambda text: len(text) % 2, lambda _: 7):
        monkeypatch.setattr("builtins.hash", hashes)
        ids = Ids([pa.array(first[:20]), pa.array(first[20:])])
        assert ids.known(pa.array([*first[::-1], "nobody"])).tolist() == [*range(49, -1, -1), -1]
        assert ids.new(pa.array([other[0], first[3], *other])).tolist() == [50, 3, *range(50, 59)]
        assert ids.known(pa.array(other)).tolist() == list(range(50, 59))
        assert ids.take(np.array([58, 0, 49])) == [other[8], first[0], first[49]]
        assert len(ids) == 59
    none = Ids([])
    assert none.known(pa.array(["a"])).tolist() == [-1]
    assert none.new(pa.array(["a", "b", "a"])).tolist() == [0, 1, 0]


def test_groups_say_where_rows_may_be() -> None:
    groups = Groups()
    for prompts in ([3, 1, -1], [-1, -1], [5, 9], [2, 8]):
        groups.note(np.array(prompts, dtype=np.int32))
    assert groups.spans(np.array([4], dtype=np.int32)) == [range(7, 9)]
    assert groups.spans(np.array([1, 6], dtype=np.int32)) == [range(3), range(5, 7), range(7, 9)]
    assert groups.spans(np.array([0, 10], dtype=np.int32)) == groups.spans(np.zeros(0, dtype=np.int32)) == []
