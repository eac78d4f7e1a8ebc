"""Exported rows: what the policy learnt and nothing else, in each format, with every text as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rsft
from command import Command
from questions import write_questions
from rsft import failpoints
from rsft.errors import RecipeError, RunError, SelectionError
from rsft.exporting import Wanted, export
from rsft.exporting import decided as reading
from rsft.exporting.decided import Answered, Told
from rsft.exporting.pairs import labelled, pairs_of
from rsft.exporting.rows import SHAPES, rows_of
from rsft.exporting.tables import write_rows
from rsft.loop import run
from rsft.reselection import reselect
from rsft.store import RunFolder
from rsft.types import CandidateKey, Message, Prompt

RECIPE = """
model: none
engine:
  type: scripted
  replies: ["Good: {prompt}", "Good and well: {prompt}", "Good, and told: {prompt}", "Bad: {prompt}", "Bad", "Good"]
  lessons: ["Good: {prompt}", "Good again: {prompt}", "Bad again"]
prompts:
  train: train.jsonl
  heldout: heldout.jsonl
  system: Be brief.
  template: "Q: {{ messages[-1].content }}"
sampling: {candidates: 8, max_tokens: 40}
budget: {stop_at_accepted: null, early_rejection: false}
scorers:
  polite: {type: format, pattern: "Good.*"}
  words: mine.py:words
selection: [polite >= 1, words >= 2, no_duplicates, {cap: 2}]
training: {type: "null"}
evaluation: {samples: 0}
guards: {plateau: off}
loop: {iterations: 2, control: none}
"""
SCORERS = "def words(replies):\n    return [len(r.text.split()) for r in replies]\n"
ROWS = Wanted(model="none", iteration=2)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_questions(train=12, heldout=4)
        (folder / "mine.py").write_text(SCORERS)
        (folder / "bot.yaml").write_text(RECIPE)
        run(rsft.load_recipe("bot.yaml", "run=runs/bot"))
        reselect(Path("runs/bot"), ["selection=[words >= 4]"], "wordy")
    return folder / "runs/bot"


@pytest.fixture(autouse=True)
def _here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.parents[1])


def exported(finished: Path, to: Path, **wanted: Any) -> list[dict[str, Any]]:
    """The rows of an export."""
    said = {"model": "none", "iteration": None if "selection" in wanted else 2, **wanted}
    export(finished, to, Wanted(**said))
    return [json.loads(line) for line in (to / "data/train.jsonl").read_text(encoding="utf-8").splitlines()]


def candidates(finished: Path) -> dict[CandidateKey, str]:
    with RunFolder.open(finished, write=False) as folder:
        return {candidate.key: candidate.text for candidate in folder.candidates()}


def key_of(row: dict[str, Any]) -> CandidateKey:
    return CandidateKey(row["iteration"], row["prompt_id"], row["sample_index"], row["generator"])


def test_rows_are_those_that_the_policy_learnt_with_their_scores(finished: Path, tmp_path: Path) -> None:
    learnt = json.loads((finished / "iterations/2/policy/training.json").read_text())["rows"]
    rows = exported(finished, tmp_path / "out")
    assert [key_of(row) for row in rows] == [CandidateKey(**key) for key in learnt]
    assert {row["iteration"] for row in rows} == {1, 2}
    texts = candidates(finished)
    with RunFolder.open(finished, write=False) as folder:
        scores = folder.own_scores()
        prompts = {prompt.id: prompt for prompt in folder.load_prompts("train")}
    for row in rows:
        *turns, reply = row["messages"]
        assert reply == {"role": "assistant", "content": texts[key_of(row)]}
        assert turns == [{"role": m.role, "content": m.content} for m in prompts[row["prompt_id"]].messages]
        assert turns[0] == {"role": "system", "content": "Be brief."}
        assert turns[1]["content"].startswith("Q: ")
        assert row["scores"] == {name: said.value for name, said in scores[key_of(row)].items()}
        assert row["selection"] == "policy"
    assert exported(finished, tmp_path / "first", iteration=1) == [row for row in rows if row["iteration"] == 1]
    assert exported(finished, tmp_path / "drawn", drawn_in=2) == [row for row in rows if row["iteration"] == 2]


@pytest.mark.parametrize("learn_from", ["auto", "all"])
def test_a_policy_that_goes_on_from_another_has_learnt_its_rows_too(tmp_path: Path, learn_from: str) -> None:
    how = f"training={{type: 'null', start_from: policy, learn_from: {learn_from}}}"
    run(rsft.load_recipe("bot.yaml", f"run={tmp_path / 'onwards'}", how))
    learnt: set[CandidateKey] = set()
    for iteration in (1, 2):
        own = json.loads((tmp_path / f"onwards/iterations/{iteration}/policy/training.json").read_text())["rows"]
        learnt |= {CandidateKey(**key) for key in own}
    assert [key_of(row) for row in exported(tmp_path / "onwards", tmp_path / "out")] == sorted(learnt)


class _CutOff(BaseException):
    """The process dies here."""


def cut_off(point: str, run_folder: Path) -> None:
    """A run that died when it reached a point."""

    def die(name: str) -> None:
        if name == point:
            raise _CutOff

    with failpoints.listening(die), pytest.raises(_CutOff):
        run(rsft.load_recipe("bot.yaml", f"run={run_folder}"))


def test_a_run_that_has_no_policy_yet_has_rows(tmp_path: Path) -> None:
    cut_off("train.begun", tmp_path / "cut")
    with pytest.raises(RunError, match=r"has no policy\. .*none yet\. .*--model none --drawn-in 1"):
        exported(tmp_path / "cut", tmp_path / "out", iteration=None)
    rows = exported(tmp_path / "cut", tmp_path / "out", iteration=None, drawn_in=1)
    with RunFolder.open(tmp_path / "cut", write=False) as folder:
        accepted = [key for key, decision in folder.decisions("policy").items() if decision.accepted]
    assert [key_of(row) for row in rows] == sorted(accepted)


def test_of_a_run_that_goes_on_the_last_policy_is_exported(tmp_path: Path) -> None:
    cut_off("guard.begun", tmp_path / "cut")
    rows = exported(tmp_path / "cut", tmp_path / "out", iteration=None)
    assert json.loads((tmp_path / "out/export.json").read_text())["iteration"] == 1
    assert {row["iteration"] for row in rows} == {1}
    assert "The run is not finished" in (tmp_path / "out/data/README.md").read_text()


def test_a_conversation_may_stand_as_the_user_had_it(finished: Path, tmp_path: Path) -> None:
    read, asked = exported(finished, tmp_path / "a"), exported(finished, tmp_path / "b", turns="user")
    for one, other in zip(read, asked, strict=True):
        assert [turn["role"] for turn in other["messages"]] == ["user", "assistant"]
        assert one["messages"][1]["content"] == "Q: " + other["messages"][0]["content"]
        assert one["messages"][-1] == other["messages"][-1]


def test_a_named_set_has_its_own_rows(finished: Path, tmp_path: Path) -> None:
    rows = exported(finished, tmp_path / "out", selection="wordy")
    with RunFolder.open(finished, write=False) as folder:
        accepted = [key for key, decision in folder.decisions("wordy").items() if decision.accepted]
    assert [key_of(row) for row in rows] == sorted(accepted)
    assert {row["selection"] for row in rows} == {"wordy"}
    with pytest.raises(RunError, match=r"no set of decisions named 'worldly'\. There are: wordy"):
        exported(finished, tmp_path / "other", selection="worldly")
    with pytest.raises(RunError, match=r"rsft train .* --selection wordy"):
        exported(finished, tmp_path / "other", selection="wordy", model="trained")


@pytest.mark.parametrize("kind", list(SHAPES))
def test_every_format_says_the_same(finished: Path, tmp_path: Path, kind: str) -> None:
    said = [row["messages"] for row in exported(finished, tmp_path / "messages")]
    rows = exported(finished, tmp_path / "out", data=kind, plain=True)
    spoken = {"human": "user", "gpt": "assistant", "system": "system"}
    back = {
        "messages": lambda row: row["messages"],
        "openai": lambda row: row["messages"],
        "prompt-completion": lambda row: row["prompt"] + row["completion"],
        "sharegpt": lambda row: [
            {"role": spoken[turn["from"]], "content": turn["value"]} for turn in row["conversations"]
        ],
    }[kind]
    assert list(map(back, rows)) == said
    own = {"prompt-completion": {"prompt", "completion"}, "sharegpt": {"conversations"}}.get(kind, {"messages"})
    assert all(set(row) == own for row in rows)


def test_openai_s_rows_have_no_other_columns_and_are_what_a_host_takes(finished: Path, tmp_path: Path) -> None:
    rows = exported(finished, tmp_path / "out", data="openai")
    for row in rows:
        assert list(row) == ["messages"]
        assert row["messages"][-1]["role"] == "assistant"
        assert all(turn["content"].strip() for turn in row["messages"])


def test_what_openai_s_format_can_t_hold_is_left_out() -> None:
    turns = (Message("user", "Look it up."), Message("tool", "42"))
    for prompt, text, count in ((Prompt("p", turns, turns), "42", 0), (asked("p"), " ", 0), (asked("p"), "42", 1)):
        rows = list(rows_of([Answered(prompt, [told(text)])], "openai", "model", "policy", plain=True))
        assert len(rows) == count


# -- pairs -----------------------------------------------------------------------------------------------------------


def test_pairs_are_of_one_prompt_and_iteration_and_the_rejected_one_is_worse(finished: Path, tmp_path: Path) -> None:
    rows = exported(finished, tmp_path / "out", data="dpo")
    with RunFolder.open(finished, write=False) as folder:
        decided = folder.decisions("policy")
        texts = {candidate.key: candidate.text for candidate in folder.candidates()}
    assert rows
    assert len({(row["prompt_id"], row["iteration"]) for row in rows}) == len(rows)
    for row in rows:
        good, bad = CandidateKey(**row["chosen_key"]), CandidateKey(**row["rejected_key"])
        assert decided[good].accepted
        assert not decided[bad].accepted
        assert (good.prompt_id, good.iteration) == (bad.prompt_id, bad.iteration)
        assert row["rule"] == decided[bad].rule
        assert row["rule"] in ("polite >= 1", "words >= 2"), "neither for being enough, nor for being like another"
        assert row["chosen"] == [{"role": "assistant", "content": texts[good]}]
        assert row["rejected"] == [{"role": "assistant", "content": texts[bad]}]
    # The rules in question did reject some.
    assert {"no_duplicates", "cap: 2"} & {decision.rule for decision in decided.values()}
    assert exported(finished, tmp_path / "again", data="dpo") == rows


def test_a_score_chooses_the_best_against_the_nearest_miss(finished: Path, tmp_path: Path) -> None:
    every = exported(finished, tmp_path / "all", data="dpo", pairs="all")
    best = exported(finished, tmp_path / "best", data="dpo", by="words")
    assert len(every) > len(best)
    for row in best:
        same = [one for one in every if (one["prompt_id"], one["iteration"]) == (row["prompt_id"], row["iteration"])]
        for side in ("chosen_scores", "rejected_scores"):
            assert row[side]["words"] == max(one[side]["words"] for one in same)


def test_kto_rows_are_labelled(finished: Path, tmp_path: Path) -> None:
    rows = exported(finished, tmp_path / "out", data="kto")
    accepted = exported(finished, tmp_path / "accepted")
    assert [key_of(row) for row in rows if row["label"]] == [key_of(row) for row in accepted]
    assert {row["rule"] for row in rows if not row["label"]} <= {"polite >= 1", "words >= 2"}
    assert any(not row["label"] for row in rows)


def told(text: str, *, accepted: bool = True, rule: str = "accepted", index: int = 0, **how: Any) -> Told:
    key = CandidateKey(1, "p", index, "g")
    return Told(key, text, accepted, rule, how.get("scores", {"a": 1.0}), how.get("whole", True))


def asked(prompt_id: str, text: str = "Why?") -> Prompt:
    turns = (Message("user", text),)
    return Prompt(prompt_id, turns, turns)


@pytest.mark.parametrize(
    "bad",
    [
        told("B", accepted=False, rule="a >= 1", index=1, whole=False),
        told("B", accepted=False, rule="a >= 1", index=1, scores={"a": None}),
        told("B", accepted=False, rule="no_duplicates", index=1),
        told("A", accepted=False, rule="a >= 1", index=1),
    ],
    ids=["cut", "failed", "like another", "accepted as well"],
)
def test_what_is_not_known_to_be_worse_is_no_one_s_opposite(bad: Told) -> None:
    answered = [Answered(asked("p"), [told("A"), bad])]
    rules = {"a >= 1": ("a",)}
    how: dict[str, Any] = {"by": None, "seed": 0, "plain": True}
    assert not list(pairs_of(answered, rules, "model", every=True, **how))
    assert [row["label"] for row in labelled(answered, rules, "model", "policy", plain=True)] == [True]
    worse = told("B", accepted=False, rule="a >= 1", index=1)
    assert list(pairs_of([Answered(asked("p"), [told("A"), worse])], rules, "model", every=True, **how))


def test_rules_that_only_rank_give_pairs_and_no_labels(finished: Path, tmp_path: Path) -> None:
    reselect(finished, ["selection=[{top_k: {k: 1, by: words}}]"], f"top_{tmp_path.name}".replace("-", "_"))
    name = f"top_{tmp_path.name}".replace("-", "_")
    for row in exported(finished, tmp_path / "pairs", data="dpo", selection=name):
        assert row["chosen_scores"]["words"] >= row["rejected_scores"]["words"]
    with pytest.raises(SelectionError, match="there are no replies of both kinds"):
        exported(finished, tmp_path / "labels", data="kto", selection=name)
    assert not (tmp_path / "labels").exists()


# -- files -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=4), st.sampled_from(list(SHAPES)))
def test_any_text_comes_back_from_json_lines(tmp_path_factory: pytest.TempPathFactory, said: Any, kind: str) -> None:
    answered = [Answered(asked(f"p{n}", turn), [told(reply)]) for n, (turn, reply) in enumerate(said)]
    file = tmp_path_factory.mktemp("lines") / "train.jsonl"
    rows = list(rows_of(answered, kind, "model", "policy", plain=False))
    assert write_rows(file, rows, ["a"]) == len(rows)
    assert [json.loads(line) for line in file.read_bytes().decode().split("\n")[:-1]] == rows


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=4), st.sampled_from([*SHAPES, "dpo", "kto"]))
def test_any_text_comes_back_from_parquet(tmp_path_factory: pytest.TempPathFactory, said: Any, kind: str) -> None:
    worse = told("worse\x00", accepted=False, rule="a >= 1", index=1)
    answered = [Answered(asked(f"p{n}", turn), [told(reply), worse]) for n, (turn, reply) in enumerate(said)]
    rules = {"a >= 1": ("a",)}
    if kind == "dpo":
        rows = list(pairs_of(answered, rules, "model", every=True, by=None, seed=0, plain=False))
    elif kind == "kto":
        rows = list(labelled(answered, rules, "model", "policy", plain=False))
    else:
        rows = list(rows_of(answered, kind, "model", "policy", plain=False))
    file = tmp_path_factory.mktemp("table") / "train.parquet"
    assert write_rows(file, rows, ["a"]) == len(rows)
    assert pq.read_table(file).to_pylist() == rows


def test_half_a_character_stays_in_json_and_is_replaced_in_parquet(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "\ud83d"}]}
    write_rows(tmp_path / "a.jsonl", [row], [])
    assert json.loads((tmp_path / "a.jsonl").read_text()) == row
    write_rows(tmp_path / "a.parquet", [row], [])
    assert pq.read_table(tmp_path / "a.parquet").to_pylist()[0]["messages"][0]["content"] == "\ufffd"


def test_in_small_parts_it_comes_to_the_same(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [exported(finished, tmp_path / kind, data=kind) for kind in ("messages", "dpo", "kto")]
    monkeypatch.setattr(reading, "_AT_ONCE", 9)
    assert [exported(finished, tmp_path / f"{kind}-2", data=kind) for kind in ("messages", "dpo", "kto")] == whole


def test_datasets_reads_both_kinds_of_file(finished: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    rows = exported(finished, tmp_path / "lines")
    export(finished, tmp_path / "table", Wanted(model="none", iteration=2, parquet=True))
    for folder in ("lines", "table"):
        read = load_dataset(str(tmp_path / folder / "data"), split="train", cache_dir=str(tmp_path / "cache"))
        assert read.to_list() == rows


# -- the folder and the command ---------------------------------------------------------------------------------------


def test_nothing_is_overwritten_unless_it_is_an_export(finished: Path, tmp_path: Path) -> None:
    to = tmp_path / "out"
    export(finished, to, ROWS)
    before = (to / "data/train.jsonl").read_text()
    with pytest.raises(RunError, match="holds an export already"):
        export(finished, to, ROWS)
    export(finished, to, Wanted(model="none", iteration=1), force=True)
    assert (to / "data/train.jsonl").read_text() != before
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("Once")
    with pytest.raises(RunError, match="is no export: nothing of it is touched"):
        export(finished, other, ROWS, force=True)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["out", "thesis"], "nothing is left beside them"


def test_the_run_is_only_read_and_never_written_into(finished: Path, tmp_path: Path) -> None:
    def state() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in finished.rglob("*") if p.is_file() and p.name not in _SQLITE}

    before = state()
    export(finished, tmp_path / "out", ROWS)
    assert state() == before
    for inside in (finished / "export", finished / "iterations/1/out", finished, finished.parent):
        with pytest.raises(RunError, match="never goes into a run folder"):
            export(finished, inside, ROWS, force=True)


_SQLITE = ("ledger.sqlite-shm", "ledger.sqlite-wal")


def test_an_error_leaves_nothing_behind(finished: Path, tmp_path: Path) -> None:
    from rsft.errors import ModelError

    with pytest.raises(ModelError):
        export(finished, tmp_path / "out", Wanted(iteration=2))  # a fake trainer made no weights
    assert not list(tmp_path.iterdir())


def test_the_card_of_the_rows_says_what_they_are(finished: Path, tmp_path: Path) -> None:
    import yaml

    rows = exported(finished, tmp_path / "out", data="dpo", data_licence="cc-by-4.0")
    card = (tmp_path / "out/data/README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert header["license"] == "cc-by-4.0"
    assert f"{len(rows)} rows of replies" in card
    for column in rows[0]:
        assert f"`{column}`" in card
    assert "One pair of each prompt and iteration" in card
    exported(finished, tmp_path / "bare")
    assert "license" not in (tmp_path / "bare/data/README.md").read_text().split("---")[1]


def test_the_command(finished: Path, tmp_path: Path, cli: Command) -> None:
    words = ("export", str(finished), "--to", str(tmp_path / "out"), "--model", "none", "-i", "2", "--json")
    said = cli(*words)
    assert said.code == 0, said.err
    assert said.json["data"]["rows"] == len((tmp_path / "out/data/train.jsonl").read_text().splitlines())
    assert said.json["data"]["iterations"] == [1, 2]
    assert said.json["model"] is None
    told_to_people = cli(*words[:-1], "--force")
    assert f"{said.json['data']['rows']} rows as messages, in train.jsonl" in told_to_people.out
    assert "--data-license" in told_to_people.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "none", "data": "none"}, "nothing is left to export"),
        ({"data": "message"}, "--data is one of .* Did you mean 'messages'"),
        ({"turns": "users"}, "--as is one of model, user"),
        ({"iteration": 0}, "is the base model"),
        ({"iteration": 1, "selection": "a"}, "no --iteration"),
        ({"by": "words"}, "go with --data dpo"),
        ({"data": "dpo", "by": "words", "pairs": "all"}, "give one"),
        ({"data": "openai", "parquet": True}, "leave --parquet out"),
        ({"licence": "Apache License"}, "--license is one of the hub's names"),
        ({"converter": Path("a.py")}, "goes with --model gguf"),
    ],
)
def test_what_contradicts_itself_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Wanted(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iteration": 3}, "has no policy of iteration 3. There are those of iterations 1, 2"),
        ({"drawn_in": 3}, "--drawn-in 3: the rows are of iterations 1, 2"),
        ({"data": "dpo", "by": "wordz"}, "Did you mean 'words'"),
    ],
)
def test_what_the_run_has_not_is_refused(finished: Path, tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises((RunError, RecipeError), match=message):
        exported(finished, tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())
