"""Other rules over what a run has drawn: what would change, named sets, labels, and certified thresholds."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rsft
from questions import write_questions
from rsft.calibrating import calibrate
from rsft.distributions import distributions
from rsft.errors import PromptError, RecipeError, RunError, SelectionError
from rsft.label_files import export_labels, import_labels
from rsft.labelling import Frame, Labelling
from rsft.likeness import COMPARED
from rsft.loop import run
from rsft.metrics import gram_kernel, vendi
from rsft.parts import StoredParts, whole_pool
from rsft.progress import Silent
from rsft.reselection import decided_again, reselect
from rsft.retraining import retrain
from rsft.saved import saved_recipe, with_selection
from rsft.selection import Pool, parse_selection
from rsft.store import RunFolder
from rsft.text import normalise, words
from rsft.types import CandidateKey, Label

RECIPE = """
model: none
engine:
  type: scripted
  replies:
    - "Good: {prompt}"
    - "Good and well: {prompt}"
    - "Good but so very long: {prompt}"
    - "Bad: {prompt}"
    - Bad
    - Good
    - Good day
    - Good day to you
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 6, max_tokens: 60}
budget: {early_rejection: false}
scorers:
  polite: {type: format, pattern: "Good.*"}
  brief: mine.py:brief
selection: [polite >= 1, brief >= 0.2, no_duplicates, {cap: 2}]
training: {type: "null"}
evaluation: {samples: 0}
loop: {iterations: 2, control: none}
"""
MINE = "def brief(replies):\n    return [1 / len(r.text.split()) for r in replies]\n"


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two iterations over 80 prompts."""
    monkeypatch.chdir(tmp_path)
    Path("scripted.yaml").write_text(RECIPE)
    Path("mine.py").write_text(MINE)
    write_questions(train=80, heldout=5)
    recipe = rsft.load_recipe("scripted.yaml")
    run(recipe)
    return Path(recipe.run)


def test_a_stored_pool_is_the_pool_that_was_decided_on(done: Path) -> None:
    with RunFolder.open(done, write=False) as folder:
        decided = folder.decisions("policy", iteration=2)
        candidates = [c for c in folder.candidates(iteration=2) if c.key in decided]
        live = Pool.scored(candidates, folder.own_scores(iteration=2))
        stored = whole_pool(folder, 2, folder.noted_scorers())
        keys = list(stored.keys.all(2))
        assert set(keys) == set(decided)
        place_of = {candidate.key: place for place, candidate in enumerate(candidates)}
        order = [place_of[key] for key in keys]
        for name in ("polite", "brief"):
            assert np.array_equal(stored.pool.scores[name], live.scores[name][order], equal_nan=True)
        assert (stored.pool.whole_N == live.whole_N[order]).all()
        assert (stored.pool.lots_N == live.lots_N[order]).all()
        assert [stored.pool.texts[place] for place in range(len(keys))] == [live.texts[place] for place in order]
        again = parse_selection(saved_recipe(done).selection).decide(stored.pool)
        assert dict(zip(keys, again, strict=True)) == decided
        assert {key for key, kept in zip(keys, stored.accepted_N, strict=True) if kept} == {
            key for key, decision in decided.items() if decision.accepted
        }


def test_the_same_rules_change_nothing(done: Path) -> None:
    for part in reselect(done, [])["iterations"]:
        assert part["before"] == part["now"]
        assert part["overlap"] == 1.0


def test_other_rules_show_what_would_change(done: Path) -> None:
    said = reselect(done, ["selection=[polite >= 1, brief >= 0.3]"])
    assert [part["iteration"] for part in said["iterations"]] == [1, 2]
    for part in said["iterations"]:
        assert sum(part["decided_by"].values()) == part["candidates"]
        assert part["now"]["means"]["brief"] > part["before"]["means"]["brief"]
        assert part["in_common"] <= min(part["now"]["accepted"], part["before"]["accepted"])
        closest = [call for call in part["closest"] if call["rule"] == "brief >= 0.3"]
        assert {call["side"] for call in closest} == {"over", "under"}
        assert all((call["margin"] >= 0) == (call["side"] == "over") for call in closest)
        assert all(call["reply"] for call in closest)
    with RunFolder.open(done, write=False) as folder:
        assert folder.selections() == {}


def test_one_line_can_be_moved_alone(done: Path) -> None:
    whole = reselect(done, ["selection=[polite >= 1, brief >= 0.3, no_duplicates, {cap: 2}]"])
    assert reselect(done, ["brief >= 0.3"]) == whole


def test_what_is_accepted_is_measured_as_the_run_measured_it(done: Path) -> None:
    """Of few replies all are: then the numbers are those of the run's own note on length."""
    with RunFolder.open(done, write=False) as folder:
        notes = [folder.stage_done(iteration, "policy", "select") for iteration in (1, 2)]
        texts = {candidate.key: candidate.text for candidate in folder.candidates()}
        accepted = [key for key, decision in folder.decisions("policy", iteration=2).items() if decision.accepted]
    parts = reselect(done, ["selection=[polite >= 1, brief >= 0.2]"])["iterations"]
    for part, note in zip(parts, notes, strict=True):
        assert note is not None
        assert part["whole"]["words"] == pytest.approx(note["whole_words"])
        assert part["before"]["words"] == pytest.approx(note["accepted_words"])
        assert part["before"]["words_of"] == part["before"]["accepted"]
        assert part["length_correlations"] == pytest.approx(note["length_correlations"])
        assert part["length_correlations"]["brief"] < -0.9
    said = [words(normalise(texts[key])) for key in accepted]
    different = vendi(gram_kernel(said))
    assert len(said) <= COMPARED
    assert parts[1]["before"]["different"] == pytest.approx(different)
    (none, _) = reselect(done, ["selection=[brief >= 9]"])["iterations"]
    assert (none["now"]["words"], none["now"]["different"], none["now"]["different_of"]) == (None, None, 0)


def test_rules_that_are_given_stand_in_all_iterations_though_the_recipe_has_the_same(done: Path) -> None:
    recipe = rsft.load_recipe("scripted.yaml", "run=runs/two", "loop.schedule.selection=[[polite >= 1],[brief >= 0.5]]")
    run(recipe)
    said = reselect(Path(recipe.run), [f"selection={json.dumps(recipe.selection)}"])
    rules = {rule for part in said["iterations"] for rule in part["decided_by"]}
    assert "cap" in " ".join(rules)
    assert "brief >= 0.5" not in rules


def test_a_named_set_is_kept_trained_on_and_never_overwritten(done: Path) -> None:
    reselect(done, ["selection=[polite >= 1, {cap: 1}]"], "few")
    with RunFolder.open(done, write=False) as folder:
        assert folder.selections() == {"few": ["polite >= 1", {"cap": 1}]}
        assert folder.decided_iterations("few") == [1, 2]
        few = folder.decisions("few")
        own = folder.decisions("policy")
    assert few.keys() == own.keys()
    accepted = sum(decision.accepted for decision in few.values())
    said = retrain(done, "few", Silent())
    assert said["rows"] == accepted
    assert said["heldout_acceptance"]["n"] == 5
    assert retrain(done, "few", Silent()) == said, "it is done"
    for name, hint in (("few", "there already"), ("policy", "there already"), ("a b", "letters")):
        with pytest.raises(RunError, match=hint):
            reselect(done, [], name)
    with pytest.raises(RunError, match="There are: few"):
        retrain(done, "fwe", Silent())
    assert rsft.run(rsft.load_recipe(done))["finished"], "the run itself is as it was"


def test_what_can_not_be_selected_again_is_said(done: Path) -> None:
    with pytest.raises(RecipeError, match=r"sampling\.candidates"):
        reselect(done, ["sampling.candidates=3"])
    with pytest.raises(RecipeError, match="rsft score"):
        reselect(done, ["scorers.words={type: length, max_words: 3}", "selection=[words >= 1]"])
    with pytest.raises(RecipeError, match="no scorer gives"):
        reselect(done, ["selection=[polit >= 1]"])
    with pytest.raises(RecipeError, match="no scorer gives"):
        reselect(done, ["polit >= 1"])
    with pytest.raises(RecipeError, match="'brief >= short' is no comparison"):
        reselect(done, ["brief >= short"])


def test_baselines_are_compared_with_and_never_candidates(done: Path) -> None:
    rows = [{"id": f"r{i}", "prompt": f"question {i}"} | ({"reference": "Good day"} if i else {}) for i in range(12)]
    Path("referenced.jsonl").write_text("\n".join(map(json.dumps, rows)))
    overrides = ["prompts.train=referenced.jsonl", "run=runs/compared", "loop.iterations=1"]
    rule = "{better_than: {baseline: reference, by: brief, at_least: 0.1}}"
    with pytest.raises(RecipeError, match=r"baselines: \[reference\]"):
        run(rsft.load_recipe("scripted.yaml", f"selection=[{rule}]", *overrides))
    mine = rsft.load_recipe("scripted.yaml", f"selection=[{rule}]", "baselines=[greedy, reference]", *overrides)
    run(mine)
    with RunFolder.open(Path(mine.run), write=False) as folder:
        decided = folder.decisions("policy")
        texts = {c.key: c.text for c in folder.candidates(iteration=1)}
    assert len(decided) == 12 * 6, "baselines are none of the candidates"
    assert len(texts) >= 12 * 6 + 12 + 11
    assert {texts[key] for key, decision in decided.items() if decision.accepted} == {"Good", "Bad"}
    assert not any(decision.accepted for key, decision in decided.items() if key.prompt_id == "r0")
    reasons = [decision.explanation for decision in decided.values() if not decision.accepted]
    assert any("the prompt's reference reply has no score" in reason for reason in reasons)
    assert any("the reference reply's is 0.5" in reason for reason in reasons)
    (part,) = reselect(Path(mine.run), [rule_of("greedy", 0.0)])["iterations"]
    assert part["baselines"]["reference"]["brief"] == 0.5
    assert part["now"]["prompts"] > 0


def rule_of(baseline: str, at_least: float) -> str:
    return f"selection=[{{better_than: {{baseline: {baseline}, by: brief, at_least: {at_least}}}}}]"


# -- labels ------------------------------------------------------------------------------------------------------------


def labelled_by_hand(done: Path, count: int, *, by: str = "ann", iteration: int = 2) -> list[CandidateKey]:
    """Labels the next ones: what is longer than seven words is bad."""
    keys = []
    with RunFolder.open(done, write=True) as folder:
        labelling = Labelling(folder, Frame(folder, saved_recipe(done), "brief", iteration), by, "calibration")
        while len(keys) < count and (asked := labelling.next()) is not None:
            labelling.say("good" if len(asked.reply.split()) <= 7 else "bad")
            keys.append(asked.key)
    return keys


def test_calibration_labels_are_of_a_random_draw_one_of_each_prompt(done: Path) -> None:
    with RunFolder.open(done, write=False) as folder:
        frame = Frame(folder, saved_recipe(done), "brief", 2)
        keys = [frame.key(int(place)) for place in frame.places]
        prompts = [key.prompt_id for key in keys]
        assert len(set(prompts)) == len(prompts)
        assert (frame.values("polite") == 1).all(), "they come after the other rules"
        assert frame.scores.min() < 0.2, "but not after the line that is to be found"
        assert not set(frame.aimed.tolist()) & set(frame.places.tolist()), "the two kinds are kept apart"
        assert prompts != sorted(prompts)
        assert [Frame(folder, saved_recipe(done), "brief", 2).key(int(p)) for p in frame.places] == keys
        with pytest.raises(RecipeError, match="Did you mean 'brief'"):
            Frame(folder, saved_recipe(done), "brif", 2)


def test_labelling_goes_on_where_it_stopped_and_takes_back(done: Path) -> None:
    first = labelled_by_hand(done, 3)
    with RunFolder.open(done, write=True) as folder:
        labelling = Labelling(folder, Frame(folder, saved_recipe(done), "brief", 2), "ann", "calibration")
        fourth = labelling.next()
        assert fourth is not None
        assert fourth.key not in first
        labelling.say("bad")
        labelling.say("skipped")
        assert labelling.undo()
        assert labelling.undo()
        assert not labelling.undo()
        assert labelling.next() == fourth
        assert [label.key for label in folder.labels()] == first
        labelling.say("graded", 0.25)
        assert folder.labels()[-1].loss == 0.25
        other = Labelling(folder, Frame(folder, saved_recipe(done), "brief", 2), "bob", "calibration")
        assert other.next() is not None
        assert other.next().key == first[0], "everybody is asked about the same"  # type: ignore[union-attr]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_labels_go_out_and_come_back(done: Path, ending: str) -> None:
    labelled_by_hand(done, 2)
    file = Path(f"labels.{ending}")
    with RunFolder.open(done, write=True) as folder:
        frame = Frame(folder, saved_recipe(done), "brief", 2)
        labelling = Labelling(folder, frame, "ann", "calibration")
        assert export_labels(folder, frame, labelling, 5, file) == 7
        rows = read(file)
        assert [row["label"] for row in rows[2:]] == [""] * 5
        assert import_labels(folder, frame, file) == 0, "nothing is new"
        for row, said in zip(rows[2:], ["good", "0", "0.75", "skipped", ""], strict=True):
            row["label"] = said
        write(file, rows)
        assert import_labels(folder, frame, file) == 4
        assert [(label.word, label.loss) for label in folder.labels()[2:]] == [
            ("good", 0.0),
            ("bad", 1.0),
            ("graded", 0.25),
            ("skipped", None),
        ]
        for column, value, hint in (
            ("label", "great", "expected good, bad"),
            ("purpose", "fun", "expected calibration or aimed"),
            ("prompt_id", "nobody", "none of the random draw"),
            ("sample_index", "x", "a whole number"),
        ):
            write(file, [*rows[:3], {**rows[3], column: value}])
            with pytest.raises(PromptError, match=hint):
                import_labels(folder, frame, file)
        assert len(folder.labels()) == 6, "a file with a mistake changes nothing"


def read(file: Path) -> list[dict[str, Any]]:
    text = file.read_text()
    return (
        list(csv.DictReader(text.splitlines())) if file.suffix == ".csv" else list(map(json.loads, text.splitlines()))
    )


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    if file.suffix == ".csv":
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        file.write_text("\n".join(map(json.dumps, rows)))


def test_a_text_that_a_spreadsheet_would_run_is_only_text(done: Path, tmp_path: Path) -> None:
    from rsft.label_files import _csv

    row = dict.fromkeys(["iteration", "prompt_id", "sample_index", "generator", "purpose", "labeller", "label"], "x")
    assert "'=cmd()" in _csv([{**row, "asked": "plain", "reply": "=cmd()"}])


def test_ids_that_a_spreadsheet_would_run_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scripted.yaml").write_text(RECIPE)
    Path("mine.py").write_text(MINE)
    ids = ["-1", "=x", "@you", "'=q", "'plain", "plain", "+49", "''"]
    rows = [{"id": name, "prompt": f"question {name}"} for name in ids]
    Path("train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_questions(heldout=2)
    recipe = rsft.load_recipe("scripted.yaml", "loop.iterations=1", "selection=[brief >= 0]")
    run(recipe)
    with RunFolder.open(Path(recipe.run), write=True) as folder:
        frame = Frame(folder, recipe, "brief", 1)
        file = Path("labels.csv")
        assert export_labels(folder, frame, Labelling(folder, frame, "ann", "calibration"), 99, file) == len(ids)
        write(file, [{**row, "label": "good"} for row in read(file)])
        assert import_labels(folder, frame, file) == len(ids)
        assert {label.key.prompt_id for label in folder.labels()} == set(ids)


# -- thresholds --------------------------------------------------------------------------------------------------------


def promise(said: Mapping[str, Any]) -> float | None:
    return None if said["certificate"] is None else said["certificate"]["threshold"]


def test_a_threshold_is_certified_by_labels_or_refused_with_what_it_would_take(done: Path) -> None:
    few = calibrate(done, "brief")
    assert few["labels"] == 0
    assert few["refusal"]["labels_wanted"] == 60
    labelled_by_hand(done, 80)
    said = calibrate(done, "brief")
    assert said["labels"] == said["pool"]
    assert promise(said) is not None
    with RunFolder.open(done, write=False) as folder:
        frame = Frame(folder, saved_recipe(done), "brief", 2)
        (part,) = frame.stored
        over = frame.left(part) & (part.pool.scores["brief"] >= promise(said))
        bad = [len(part.pool.texts[place].split()) > 7 for place in np.flatnonzero(over)]
    assert np.mean(bad) <= 0.1, "it holds on all replies that the rules leave"
    assert said["conformal"] is not None
    assert said["stricter"][0]["max_error"] == 0.05
    assert calibrate(done, "brief", iteration=1)["labels"] == 0, "labels are of one iteration"
    assert calibrate(done, "brief", labeller="bob")["labels"] == 0


def polite_labels(done: Path, scorer: str) -> None:
    """Labels all of a scorer's draw: what is impolite is bad."""
    with RunFolder.open(done, write=True) as folder:
        labelling = Labelling(folder, Frame(folder, saved_recipe(done), scorer, 2), "ann", "calibration")
        while (asked := labelling.next()) is not None:
            labelling.say("good" if asked.reply.startswith("Good") else "bad")


def test_labels_of_another_scorers_draw_certify_nothing(done: Path) -> None:
    polite_labels(done, "brief")  # behind the rule polite >= 1: all of them are good
    said = calibrate(done, "polite")
    assert said["left_out"] > 10, "some replies are in both draws"
    assert promise(said) is None, "impolite ones were never asked about, so no line that lets them through is certified"
    polite_labels(done, "polite")
    said = calibrate(done, "polite")
    assert (said["labels"], said["left_out"]) == (said["pool"], 0)
    assert promise(said) in (None, 1.0)


def test_labels_behind_a_gap_wait_until_it_is_closed(done: Path) -> None:
    keys = labelled_by_hand(done, 30)
    with RunFolder.open(done, write=True) as folder:
        folder.add_labels([Label(keys[10], "ann", "calibration", "undone", None)])
    said = calibrate(done, "brief")
    assert (said["labels"], said["left_out"]) == (10, 19)
    assert labelled_by_hand(done, 1) == [keys[10]], "it is what is asked about next"
    assert calibrate(done, "brief")["labels"] == 30


def test_a_doubtful_case_of_one_scorer_is_asked_about_in_anothers_draw(done: Path) -> None:
    with RunFolder.open(done, write=True) as folder:
        recipe = saved_recipe(done)
        drawn = Frame(folder, recipe, "polite", 2)
        both = np.intersect1d(drawn.places, Frame(folder, recipe, "brief", 2).aimed)
        assert len(both)
        folder.add_labels([Label(drawn.key(int(place)), "ann", "aimed", "good", 0.0) for place in both])
        assert len(Labelling(folder, drawn, "ann", "calibration").queue) == len(drawn.places)


def test_a_run_with_a_certified_threshold_calibrates_in_each_iteration(done: Path) -> None:
    rule = "{certified: {score: brief, by: 'polite >= 1', labels: 70}}"
    mine = rsft.load_recipe("scripted.yaml", f"selection=[{rule}, no_duplicates]", "run=runs/certified")
    with pytest.raises(SelectionError, match="wherever the line is drawn") as caught:
        run(mine)
    assert "rsft label" in str(caught.value), "brief replies are not the polite ones: nothing certifies, and it says so"
    waiting = rsft.load_recipe(
        "scripted.yaml", "selection=[polite >= 1, brief >= certified, no_duplicates]", "run=runs/waiting"
    )
    for iteration in (1, 2):
        with pytest.raises(SelectionError, match=f"certified for iteration {iteration} .*no reply is labelled"):
            run(waiting)
        labelled_by_hand(Path(waiting.run), 80, iteration=iteration)
    assert run(waiting)["finished"]
    with RunFolder.open(Path(waiting.run), write=False) as folder:
        for iteration in (1, 2):
            decided = folder.decisions("policy", iteration=iteration)
            texts = {c.key: c.text for c in folder.candidates(iteration=iteration)}
            accepted = [texts[key] for key, decision in decided.items() if decision.accepted]
            assert accepted
            assert all(len(text.split()) <= 7 for text in accepted)
            said = next(decision.explanation for decision in decided.values() if "certified: " in decision.explanation)
            (line,) = distributions(Path(waiting.run))[iteration - 1]["scores"]["brief"]["lines"]
            assert f"certified: {line:.4g}" in said


def test_a_verifier_can_be_the_labeller(done: Path) -> None:
    rule = "{certified: {score: brief, by: 'short >= 1', labels: 79}}"
    mine = rsft.load_recipe(
        "scripted.yaml",
        f"selection=[polite >= 1, {rule}]",
        "scorers.short={type: length, max_words: 7}",
        "run=runs/verified",
    )
    assert run(mine)["finished"]
    with RunFolder.open(Path(mine.run), write=False) as folder:
        labels = folder.labels(iteration=1)
    assert {label.labeller for label in labels} == {"short >= 1"}
    assert 60 <= len(labels) <= 79
    # Behind another rule it is another draw. Who only looks labels nothing, and finds what is found by labelling.
    rules = ["polite >= 1", "short >= 1", {"certified": {"score": "brief", "by": "short >= 1", "labels": 79}}]
    with RunFolder.open(Path(mine.run), write=False) as folder:
        stored = StoredParts(folder, 1, folder.noted_scorers())
        ((_, now),) = decided_again(stored, folder, with_selection(mine, rules), 1)
        looked = now.accepted_N
        assert folder.labels(iteration=1) == labels
    selection = f"selection={json.dumps(rules)}"
    assert reselect(Path(mine.run), [selection])["iterations"][0]["now"]["accepted"] == looked.sum() > 0
    with RunFolder.open(Path(mine.run), write=False) as folder:
        assert folder.labels(iteration=1) == labels
    kept = reselect(Path(mine.run), [selection], "kept")
    assert kept["iterations"][0]["now"]["accepted"] == looked.sum()
    with RunFolder.open(Path(mine.run), write=False) as folder:
        assert len(folder.labels(iteration=1)) > len(labels)
