"""Each kind's recipe, with its fields in the data and without: it loads, can be run, and is run in miniature."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from judges import FakeJudge
from rsft import registry
from rsft.config import load_recipe
from rsft.errors import PromptError, RecipeError
from rsft.loop import run
from rsft.plan import plan
from rsft.prompts import load_prompts
from rsft.scorers.processes import sandbox
from rsft.starting import KINDS, Draft, Wish, draft, propose, read_again, read_data, write

HOSTED = {"teacher": "big", "judge": "bigger", "url": "http://127.0.0.1:9/v1", "key_env": "TEACHER_KEY"}
SCHEMA = {"type": "object", "required": ["day"], "properties": {"day": {"type": "string", "description": "a\nday"}}}
CODE = "```python\ndef f():\n    return 1\n```"
CASES: Mapping[str, tuple[str, dict[str, Any], str, set[str]]] = {
    # kind, what each row has, a reply that passes, the scorers that it brings
    "service": ("service", {"facts": {"delivery day": "Tuesday"}}, "It comes on Tuesday.", {"facts", "own_words"}),
    "facts in a list": ("service", {"facts": ["Tuesday"], "policy": "Be kind."}, "On Tuesday.", {"facts"}),
    "service, bare": ("service", {}, "It comes soon.", {"policy", "tone"}),
    "assistant": ("assistant", {"constraints": {"words": {"most": 9}}}, "It is done.", {"asked", "form"}),
    "tool calls": ("assistant", {"schema": SCHEMA}, '{"day": "Tuesday"}', {"call"}),
    "assistant, bare": ("assistant", {}, "It is done.", {"form"}),
    "character": ("character", {"persona": {"name": "Mira"}}, "I am Mira, of course.", {"in_character", "fresh"}),
    "persona as text": ("character", {"persona": "You are Mira: {{ 1/0 }}"}, "I am well, friend.", {"in_character"}),
    "persona in a list": ("character", {"persona": ["I am Mira."]}, "I am well, friend.", {"in_character"}),
    "character, bare": ("character", {}, "I am well, friend.", {"in_character"}),
    "social": ("social", {"reference": "Fine!"}, "I am well, and you?", {"safe", "fresh"}),
    "social, bare": ("social", {}, "I am well, and you?", {"safe"}),
    "maths": ("maths", {"answer": "4"}, r"Two and two make four, and that is so: \boxed{4}", {"right", "stated"}),
    "maths, bare": ("maths", {}, "Two and two make four. The answer is: 4.", {"stated"}),
    "code": ("code", {"tests": ["assert f() == 1"], "reference": CODE}, CODE, {"passes", "fenced"}),
    "code with imports": (
        "code",
        {"test": "assert math.sqrt(f()) == 1", "test_setup_code": "import math"},
        CODE,
        {"passes", "fenced"},
    ),
    "code, bare": ("code", {}, CODE, {"fenced"}),
    "distillation": ("distillation", {"reference": "Fine!"}, "I am well, and you?", {"judged"}),
    "distillation, bare": ("distillation", {}, "I am well, and you?", {"judged"}),
}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_rows(name: str, count: int, **columns: Any) -> None:
    rows = [{"prompt": f"A question of its own, and its number is {n}.", **columns} for n in range(count)]
    Path(name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def begun(kind: str, data: str, *, file: str = "bot.yaml", **wish: Any) -> Draft:
    read = read_data([data])
    hosted = {"hosted": HOSTED} if kind == "distillation" else {}
    made = draft(Wish(KINDS[kind], Path(file), **{"models": ("none",), **hosted, **wish}), read)
    write(made, read)
    read_again(made)
    return made


def test_every_kind_has_a_template_and_a_case() -> None:
    folder = resources.files("rsft") / "recipes" / "kinds"
    names = {file.name.removesuffix(".yaml.j2") for file in folder.iterdir()}
    assert names == {*KINDS, "recipe"}
    for kind in KINDS:
        assert {bool(fields) for of, fields, _, _ in CASES.values() if of == kind} == {True, False}


@pytest.mark.parametrize("case", CASES)
def test_a_recipe_loads_and_is_commented_and_has_a_control_and_one_who_watches(case: str) -> None:
    kind, fields, _, scorers = CASES[case]
    write_rows("data.jsonl", 20, **fields)
    made = begun(kind, "data.jsonl")
    recipe = load_recipe("bot.yaml")
    planned = plan(recipe)
    assert planned["prompts"]["train"]["count"] == 18
    assert planned["prompts"]["heldout"]["count"] == 2
    assert scorers <= recipe.scorers.keys()
    assert recipe.loop.control == ["random"]
    assert recipe.evaluation.scorers
    assert recipe.evaluation.scorers.keys().isdisjoint(recipe.scorers)
    blocks = re.findall(r"^(?!#)(\w+):", made.text, flags=re.M)
    for key in blocks:
        before = made.text.partition(f"\n{key}:")[0].splitlines()[-1]
        assert before.startswith("#"), key
    used = {rule.split()[0] for rule in recipe.selection if isinstance(rule, str) and ">=" in rule}
    assert used <= recipe.scorers.keys()
    assert recipe.scorers.keys() == used, "a scorer that never selects is a mistake in a first recipe"
    assert all(len(line) <= 130 or "json_schema" in line for line in made.text.splitlines())


@pytest.mark.parametrize("case", CASES)
def test_what_stands_in_comments_is_right_too(case: str) -> None:
    """Names of scorers, rules and commands; no scorer that a comment offers is misspelled."""
    kind, fields, _, _ = CASES[case]
    write_rows("data.jsonl", 20, **fields)
    text = begun(kind, "data.jsonl").text
    for name in re.findall(r"# \w+: \{type: (\w+)", text):
        assert name in registry.SCORERS, name
    offers = re.findall(r"^ *# (\w+: (?:\{type.*|[a-z_]+))$", text, flags=re.M)
    blocks = re.findall(r"^  # (\w+:\n(?:  #   .*\n)+)", text, flags=re.M)
    assert len(blocks) == (kind == "service")
    for said in (*offers, *(block.replace("\n  # ", "\n") for block in blocks)):
        (spec,) = yaml.safe_load(said).values()
        name = spec if isinstance(spec, str) else spec["type"]
        assert name in registry.SCORERS, said
        if isinstance(spec, dict):
            registry.load("scorer", name).model_validate({k: v for k, v in spec.items() if k != "type"})


@pytest.mark.parametrize("case", CASES)
def test_a_recipe_runs(case: str, tiny_folder: Path, judge: FakeJudge) -> None:
    kind, fields, reply, _ = CASES[case]
    write_rows("data.jsonl", 12, **fields)
    hosted = {"hosted": {**HOSTED, "url": judge.url, "key_env": None}} if kind == "distillation" else {}
    made = begun(kind, "data.jsonl", models=(str(tiny_folder),), **hosted)
    said = [json.dumps({"type": "scripted", "replies": [reply, "No", reply]})]
    changes = [
        f"engine={said[0]}",
        "training={type: 'null'}",
        "loop.iterations=1",
        "evaluation.samples=1",
        "sampling.candidates=3",
        *(["sampling.generators=[policy]"] if kind == "distillation" else []),
        *([f"scorers.passes={json.dumps(_passes(made))}"] if kind == "code" else []),
        # An embedding model takes its time: here whatever has words is relevant.
        *(["scorers.relevant={type: length, min_words: 1}"] if "relevant: " in made.text else []),
    ]
    recipe = load_recipe("bot.yaml", [change for change in changes if not _is_absent(change, made)])
    summary = run(recipe)
    assert summary["finished"]
    assert summary["iterations"][0]["accepted"] > 0
    assert summary["iterations"][0]["heldout_acceptance"]["n"] == len(made.heldout)


def _passes(made: Draft) -> dict[str, Any]:
    """The recipe's own scorer in a sandbox, where there is one."""
    own = yaml.safe_load(made.text)["scorers"].get("passes", {})
    for kind in ("bubblewrap", "container"):
        if not sandbox.why_not(kind):  # type: ignore[arg-type]
            return {"type": "code_tests", **(own if isinstance(own, dict) else {}), "sandbox": kind}
    return {"type": "format", "pattern": "(?s).*return 1.*"}


def _is_absent(change: str, made: Draft) -> bool:
    key = change.partition("=")[0]
    return key.startswith("scorers.") and key.removeprefix("scorers.") not in yaml.safe_load(made.text)["scorers"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_commands_in_comments_are_there(kind: str) -> None:
    import typer.main

    from rsft.cli.app import app

    group: Any = typer.main.get_command(app)
    write_rows("data.jsonl", 9)
    named = set(re.findall(r"rsft (\w+)", begun(kind, "data.jsonl").text))
    assert {"check", "scorers", "run", "ui", "label", "calibrate"} <= named
    assert named <= set(group.commands)


def test_of_a_list_of_tests_the_model_reads_the_first_and_of_a_text_none() -> None:
    """It says what the function is called; the others tell a program from an answer to what is shown."""
    write_rows("data.jsonl", 9, tests=["assert f() == 1", "assert f() > 0"])
    shown = begun("code", "data.jsonl").train[0].messages
    assert [turn.role for turn in shown] == ["system", "user"]
    assert shown[-1].content.endswith("It has to pass this test and others:\nassert f() == 1")
    write_rows("whole.jsonl", 9, tests="assert f() == 1\nassert f() > 0")
    assert "assert" not in begun("code", "whole.jsonl", file="whole.yaml").train[0].messages[-1].content


@pytest.mark.parametrize("lacking", [{}, {"tests": []}])
def test_where_a_row_has_no_tests_none_is_shown(lacking: dict[str, Any]) -> None:
    rows = [{"prompt": f"Write function {n}.", **({"tests": ["assert f() == 1"]} if n else lacking)} for n in range(9)]
    Path("data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = begun("code", "data.jsonl")
    assert not any("assert" in prompt.messages[-1].content for prompt in made.train)
    assert "# Only 8 of 9 rows have tests." in made.text


def test_a_field_that_only_some_rows_have_is_no_scorer_yet() -> None:
    rows = [
        {"prompt": f"A question of number {n}", **({"facts": {"day": "Monday"}} if n % 2 else {})} for n in range(9)
    ]
    Path("data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = begun("service", "data.jsonl")
    assert "facts" not in yaml.safe_load(made.text)["scorers"]
    assert "# Only 4 of 9 rows have facts." in made.text


def test_constraints_that_can_not_be_are_told() -> None:
    write_rows("data.jsonl", 9, constraints={"wrods": 3})
    made = begun("assistant", "data.jsonl")
    assert "asked" not in yaml.safe_load(made.text)["scorers"]
    assert "constraints can't be used in all rows" in made.text
    assert "wrods" in made.text


def test_schemas_that_differ_are_no_one_schema() -> None:
    rows = [
        {"prompt": f"A question of number {n}", "schema": {"type": t}} for n, t in enumerate(["object", "array"] * 4)
    ]
    Path("data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "The field schema differs from row to row." in begun("assistant", "data.jsonl").text


def test_rows_are_written_anew_without_loss_whatever_their_format() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    turns = [[{"role": "user", "content": f"Où est «{n}» 🙂, bitte?\u2028"}] for n in range(10)]
    said = [{"dialogue": turn, "slots": {"jour": f"mardi {n}"}} for n, turn in enumerate(turns)]
    pq.write_table(pa.Table.from_pylist(said), "data.parquet")
    with Path("data.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["dialogue", "slots"])
        writer.writerows([json.dumps(row["dialogue"]), json.dumps(row["slots"])] for row in said)
    Path("data.json").write_text(json.dumps(said))
    split: set[tuple[str, ...]] = set()
    for ending in ("parquet", "csv", "json"):
        made = begun("service", f"data.{ending}", file=f"{ending}.yaml", share=0.3)
        assert made.reading.renames == {"messages": "dialogue", "facts": "slots"}
        train, heldout = (load_prompts(f"{ending}.{part}.jsonl") for part in ("train", "heldout"))
        assert (len(train), len(heldout)) == (7, 3)
        found = sorted((p.conversation[0].content, p.fields["facts"]["jour"]) for p in (*train, *heldout))
        assert found == sorted((row["dialogue"][0]["content"], row["slots"]["jour"]) for row in said)  # type: ignore[index]
        split.add(tuple(p.conversation[0].content for p in heldout))
    assert len(split) == 1, "the same are held out, whatever the format"


def test_a_held_out_file_is_read_like_the_other_and_what_needs_no_change_stays_where_it_is() -> None:
    Path("data").mkdir()
    write_rows("data/train.jsonl", 5)
    Path("data/dev.jsonl").write_text('{"prompt": "Something else?"}\n')
    read = read_data(["data/train.jsonl"], ["data/dev.jsonl"])
    made = draft(Wish(KINDS["social"], Path("recipes/bot.yaml"), ("none",)), read)
    assert [str(path) for path in write(made, read)] == ["recipes/bot.yaml"]
    read_again(made)
    assert yaml.safe_load(made.text)["prompts"]["train"] == "../data/train.jsonl"
    assert plan(load_recipe("recipes/bot.yaml"))["prompts"]["heldout"]["count"] == 1
    Path("data/dev.jsonl").write_text('{"question": "Something else?"}\n')
    read = read_data(["data/train.jsonl"], ["data/dev.jsonl"])
    with pytest.raises(PromptError, match="no column holds a conversation"):
        draft(Wish(KINDS["social"], Path("other.yaml")), read)


def test_rows_on_both_sides_are_refused_or_told() -> None:
    write_rows("train.jsonl", 5)
    write_rows("dev.jsonl", 3)
    with pytest.raises(PromptError, match="also prompts to train on"):
        draft(Wish(KINDS["social"], Path("bot.yaml")), read_data(["train.jsonl"], ["dev.jsonl"]))
    write_rows("dev.jsonl", 3, topic="the same talk with another field")
    assert draft(Wish(KINDS["social"], Path("bot.yaml")), read_data(["train.jsonl"], ["dev.jsonl"])).shared == 3


def test_nothing_is_overwritten() -> None:
    write_rows("data.jsonl", 9)
    made = begun("social", "data.jsonl")
    read = read_data(["data.jsonl"])
    Path("bot.yaml").unlink()
    before = Path("bot.train.jsonl").read_text()
    with pytest.raises(RecipeError, match=r"bot\.train\.jsonl is there already.*--force"):
        write(made, read)
    assert not Path("bot.yaml").exists()
    write(made, read, force=True)
    own = read_data(["bot.train.jsonl"])
    with pytest.raises(RecipeError, match="is the data itself"):
        write(draft(Wish(KINDS["social"], Path("bot.yaml")), own), own, force=True)
    assert Path("bot.train.jsonl").read_text() == before


def test_a_file_of_the_same_name_in_the_working_folder_does_not_take_the_place_of_its_own() -> None:
    write_rows("data.jsonl", 9)
    write_rows("bot.train.jsonl", 2)
    with pytest.raises(RecipeError, match="names other files of the same names"):
        begun("social", "data.jsonl", file="deep/bot.yaml")


def test_names_of_all_kinds_can_stand_in_a_recipe() -> None:
    name = "a: b #c, [d] 'e' ü🙂.jsonl"
    write_rows(name, 9)
    made = begun("social", name, file="x: y.yaml", models=("- odd: name", "{{ x }}"))
    recipe = load_recipe("x: y.yaml")
    assert recipe.model == ["- odd: name", "{{ x }}"]
    assert [Path(one).name for one in recipe.prompts.train] == ["x: y.train.jsonl"]
    assert made.reading == propose(read_data([name]).rows, read_data([name]).columns, KINDS["social"], {})


def test_many_rows_are_limited_at_first() -> None:
    write_rows("data.jsonl", 400)
    begun("social", "data.jsonl")
    recipe = load_recipe("bot.yaml")
    assert recipe.prompts.train_limit == 256
    assert recipe.prompts.heldout_limit is None
