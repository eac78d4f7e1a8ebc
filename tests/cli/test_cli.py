"""The command line: what each command prints, and one clear message for each mistake of a user's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command import Command
from questions import write_questions

RECIPE = """
model: none
engine: {type: scripted, replies: ["Good: {prompt}", "Good [bold]day[/bold] \\e[31m", "Bad: {prompt}"]}
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 4, max_tokens: 40}
scorers: {polite: {type: format, pattern: "Good.*"}}
selection: [polite >= 1, no_duplicates]
training: {type: "null"}
evaluation: {samples: 2}
loop: {iterations: 1}
"""


@pytest.fixture
def rsft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Command) -> Command:
    """Runs a command in a folder with a scripted recipe."""
    monkeypatch.chdir(tmp_path)
    Path("scripted.yaml").write_text(RECIPE)
    write_questions(train=6, heldout=5)

    return cli


def test_run_prints_before_after_control_and_what_to_try_next(rsft: Command) -> None:
    said = rsft("run", "scripted.yaml")
    assert said.code == 0
    for word in ("base", "iteration 1", "control", "Gain over base", "Gain over control", "rsft show", "rsft sample"):
        assert word in said.out
    assert "fakes" in said.out
    assert re.search(r"iteration 1 · sampling: \d+ candidates", said.err), "plain lines when nobody watches"


def test_habits_that_grow_are_told(rsft: Command) -> None:
    lessons = 'engine.lessons=["Good to know, {prompt}"]'
    one = rsft("run", "scripted.yaml", "--set", lessons).out
    assert "habit" not in one, "of one iteration nothing can be told"
    two = rsft("run", "scripted.yaml", "--set", lessons, "--set", "loop.iterations=2").out
    grew = r"A habit grows: 'good to know, question' is in accepted replies to 0% → \d+% of the prompts\."
    assert re.search(grew, " ".join(two.split()))


def test_a_run_without_a_control_speaks_of_none(rsft: Command) -> None:
    assert "The control learns" in rsft("run", "scripted.yaml").out
    alone = rsft("run", "scripted.yaml", "--set", "loop.control=none", "--set", "run=runs/alone").out
    assert "The control" not in alone


def test_json_is_json_and_nothing_else(rsft: Command) -> None:
    summary = rsft("run", "scripted.yaml", "--json").json
    assert summary["finished"]
    run = summary["run"]
    assert summary == rsft("resume", run, "--json").json
    assert rsft("status", run, "--json").json["finished"]
    assert rsft("check", "scripted.yaml", "--json").json["prompts"]["train"]["count"] == 6
    shown = rsft("show", run, "--accepted", "--json").json
    assert shown
    assert all(candidate["accepted"] and candidate["scores"]["polite"]["value"] == 1 for candidate in shown)
    assert rsft("schema").json["properties"]["sampling"]


def test_show_filters_and_says_why(rsft: Command) -> None:
    run = rsft("run", "scripted.yaml", "--json").json["run"]
    rejected = rsft("show", run, "--rejected", "--rule", "polite >= 1", "--limit", "100", "--json").json
    assert rejected
    assert all(c["rule"] == "polite >= 1" and "Bad".startswith(c["reply"][:3]) for c in rejected)
    one = rsft("show", run, "--prompt", "train3", "--json").json
    assert {candidate["prompt_id"] for candidate in one} == {"train3"}
    assert "rejected by polite >= 1" in rsft("show", run, "--rejected").out
    assert "No decided candidate" in rsft("show", run, "--prompt", "train99").out


def test_show_prompts_says_how_each_fared(rsft: Command) -> None:
    run = rsft("run", "scripted.yaml", "--json").json["run"]
    rows = rsft("show", run, "--prompts", "--json").json
    assert {row["prompt_id"] for row in rows} == {f"train{i}" for i in range(6)}
    iteration = json.loads(Path(run, "summary.json").read_text())["iterations"][0]
    for row in rows:
        state = row["state"].replace(" ", "_")
        assert (row["prompt_id"] in iteration.get(state, [])) == (state != "solved")
        assert row["accepted"] <= row["candidates"]
    assert sum(row["candidates"] for row in rows) == iteration["candidates"]
    assert sum(row["tokens"] for row in rows) == iteration["tokens"]
    said = rsft("show", run, "--prompts", "--limit", "2").out
    assert "Iteration 1, 6 prompts: " in said
    assert sum(f"train{i}" in said for i in range(6)) == 2
    assert rsft("show", run, "--prompts", "-i", "7").code == 2


def test_heldout_replies_can_be_read_too(rsft: Command) -> None:
    summary = rsft("run", "scripted.yaml", "--json").json
    run = summary["run"]
    for iteration, part in (("0", summary["base"]), ("1", summary["iterations"][0])):
        replies = rsft("show", run, "--heldout", "-i", iteration, "--limit", "99", "--json").json
        assert {reply["prompt_id"] for reply in replies} == {f"heldout{i}" for i in range(5)}
        share = sum(reply["accepted"] for reply in replies) / len(replies)
        assert share == part["heldout_acceptance"]["value"]
    assert rsft("show", run, "--heldout", "-i", "7").code == 2


def test_a_reply_does_nothing_to_the_terminal(rsft: Command) -> None:
    run = rsft("run", "scripted.yaml", "--json").json["run"]
    out = rsft("show", run, "--limit", "100").out
    assert "[bold]day[/bold] \\x1b[31m" in out
    assert "\x1b[31m" not in out


def test_status_of_a_run_that_stopped_short(rsft: Command) -> None:
    assert rsft("run", "scripted.yaml", "--set", "selection=[polite >= 2]").code == 2
    said = rsft("status", "runs/scripted")
    assert said.code == 0
    assert "not finished" in said.out
    assert "begun" in said.out


def test_check_bounds_the_run_and_touches_nothing(rsft: Command) -> None:
    plan = rsft("check", "scripted.yaml", "--json").json
    assert plan["candidates_per_iteration"] == 24
    assert plan["at_most"]["train_candidates"] == 48, "the control's too"
    assert "The recipe can be run" in rsft("check", "scripted.yaml").out
    assert not Path("runs").exists()
    before = rsft("run", "scripted.yaml", "--json").json
    drawn = sum(part["candidates"] + part["control"]["candidates"] for part in before["iterations"])
    assert drawn <= plan["at_most"]["train_candidates"]


def test_check_says_which_scorers_model_must_still_be_had(rsft: Command) -> None:
    model = "scorers.tone={type: classifier, model: nobody/no-such-model, label: rude}"
    scorers = rsft("check", "scripted.yaml", "--set", model, "--json").json["scorers"]
    assert scorers["tone"].endswith("(Its model is not on this disk yet.)")
    assert "disk" not in scorers["polite"]
    refused = rsft("run", "scripted.yaml", "--set", model)
    assert refused.code == 2
    assert "nobody/no-such-model" in refused.err
    assert not Path("runs/scripted/recipe.yaml").exists(), "a mistake can be mended and the run begun again"


def test_score_again(rsft: Command) -> None:
    rsft("run", "scripted.yaml")
    said = rsft("score", "runs/scripted", "--set", "scorers.brief={type: length, max_words: 3}", "--json").json
    assert said["scorers"]["brief"]["scored"] == said["replies"] > 0
    again = rsft("score", "runs/scripted", "--set", "scorers.brief={type: length, max_words: 3}")
    assert "scored now" in again.out
    assert "decisions stay" in again.out
    assert "only scorers" in rsft("score", "runs/scripted", "--set", "seed=3").err


def write_rows(*rows: object) -> None:
    Path("train.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


@pytest.mark.parametrize(
    ("prepare", "words", "hints"),
    [
        pytest.param(None, ["--set", "sampling.candidats=3"], ["candidats", "Did you mean 'candidates'"], id="typo"),
        pytest.param(
            None, ["--set", "training.type=sft", "--set", "training.epoch=3"], ["Did you mean 'epochs'"], id="typo 2"
        ),
        pytest.param(
            None, ["--set", "training.type=sft", "--set", "training.lora.rnk=3"], ["Did you mean 'rank'"], id="typo 3"
        ),
        pytest.param(None, ["--set", "scorers.polite.type=formt"], ["Did you mean 'format'"], id="scorer"),
        pytest.param(None, ["--set", "selection=[polit >= 1]"], ["Did you mean 'polite'"], id="rule"),
        pytest.param(None, ["--set", "sampling.temperature=hot"], ["sampling.temperature", "hot"], id="value"),
        pytest.param(None, ["--set", "sampling"], ["--set", "KEY=VALUE"], id="override"),
        pytest.param(None, ["--set", "prompts.train=trian.jsonl"], ["trian.jsonl"], id="no file"),
        pytest.param(
            lambda: write_rows({"prompt": "a"}, {"question": "b"}), [], ["train.jsonl", "2", "messages"], id="no turns"
        ),
        pytest.param(
            lambda: Path("heldout.jsonl").write_text(Path("train.jsonl").read_text()), [], ["held-out"], id="overlap"
        ),
        pytest.param(lambda: Path("scripted.yaml").write_text("model: [x"), [], ["not YAML"], id="yaml"),
        pytest.param(None, ["--set", "engine=local", "--set", "model=no/such-model"], ["no/such-model"], id="no model"),
        pytest.param(
            None, ["--set", "engine=local", "--set", "model=package:llm-smollm3"], ["pip install"], id="no package"
        ),
        pytest.param(None, ["--set", "selection=[polite >= 2]"], ["accepted none of 24", "rsft show"], id="empty"),
    ],
)
def test_a_mistake_gives_one_message_that_names_the_fix(
    rsft: Command, prepare: Callable[[], Any] | None, words: list[str], hints: list[str]
) -> None:
    if prepare:
        prepare()
    said = rsft("run", "scripted.yaml", *words)
    assert said.code == 2, said.err
    message = said.err[said.err.index("rsft: ") :]
    for hint in hints:
        assert hint in message
    assert "Traceback" not in said.err
    assert len(message) < 1200, "one message, not a page"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["run", "demoo"], "Did you mean 'demo'"),
        (["status", "nowhere"], "nowhere"),
        (["resume", "nowhere"], "nowhere"),
        (["show", "nowhere"], "nowhere"),
        (["sample", "nowhere", "hello"], "nowhere"),
        (["runn", "demo"], "No such command 'runn'"),
    ],
)
def test_what_is_not_there_is_named(rsft: Command, words: list[str], hint: str) -> None:
    said = rsft(*words)
    assert said.code == 2
    assert hint in said.err
    assert "Traceback" not in said.err


def test_a_mistake_can_be_mended_in_the_same_folder(rsft: Command) -> None:
    for mistake in ("prompts.train=trian.jsonl", "engine={type: scripted}", "scorers.polite.pattern=("):
        assert rsft("run", "scripted.yaml", "--set", mistake).code == 2
    assert rsft("run", "scripted.yaml").code == 0


def test_a_run_that_a_launcher_started_twice_is_refused(rsft: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    said = rsft("run", "scripted.yaml")
    assert said.code == 2
    assert "training.launch=ddp" in said.err
    assert not Path("runs").exists()


def test_a_changed_recipe_is_refused(rsft: Command) -> None:
    assert rsft("run", "scripted.yaml").code == 0
    said = rsft("run", "scripted.yaml", "--set", "seed=5")
    assert said.code == 2
    assert "seed: 0 → 5" in said.err
    assert rsft("run", "scripted.yaml").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["run", "--help"],
        ["--version"],
        ["check", "demo"],
        ["schema"],
        ["init", "--kind", "service", "--data", "bundled:shop.train.jsonl.gz", "--yes"],
    ],
)
def test_light_commands_load_no_heavy_library(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = (
        "import sys\nfrom rsft.cli import main\n"
        f"sys.argv = ['rsft', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'transformers', 'peft', 'trl', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_help_names_every_command(rsft: Command) -> None:
    out = rsft("--help").out
    for command in ("run", "check", "resume", "status", "show", "sample", "schema"):
        assert command in out
