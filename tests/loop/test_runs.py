"""What one does with runs as a whole: list them, and make room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rsft
from command import Command
from questions import write_questions
from rsft import failpoints
from rsft.cleaning import clean
from rsft.errors import ModelError, RecipeError, RunError
from rsft.listing import runs_in
from rsft.loop import run
from rsft.models.network import check_there
from rsft.seeds import run_seeds
from rsft.store import RunFolder

SCRIPTED = """
model: none
engine: {type: scripted, replies: ["Good: {prompt}", "Bad: {prompt}"], lessons: ["Good: {prompt}"]}
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 4, max_tokens: 40}
scorers: {polite: {type: format, pattern: "Good.*"}}
selection: [polite >= 1]
training: {type: "null"}
guards: {plateau: off}
loop: {iterations: 2}
"""
TINY = """
model: %s
dtype: float32
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 8, temperature: 0.9, max_tokens: 24}
scorers: {odd: mine.py:odd}
selection: [odd >= 1]
training: {lora: {rank: 4}, learning_rate: 1.0e-2, batch_size: 4}
evaluation: {samples: 2}
guards: {plateau: off}
loop: {iterations: 3}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scripted.yaml").write_text(SCRIPTED)
    Path("mine.py").write_text("def odd(replies):\n    return [len(reply.text) % 2 for reply in replies]\n")
    write_questions(train=6, heldout=6)


def scripted(*overrides: str) -> rsft.Recipe:
    return rsft.load_recipe("scripted.yaml", *overrides)


NOTING = """
from pathlib import Path

from rsft.engines.scripted import Script, ScriptedEngine


class Noting(ScriptedEngine):
    @classmethod
    def open(cls, options, student, folder):
        engine = cls(Script(replies=["Good: {prompt}", "Bad: {prompt}"]))
        engine.name = folder.name
        return engine

    def note(self, what):
        with Path("noted").open("a") as file:
            file.write(f"{what} {self.name}\\n")

    def release(self):
        self.note("release")

    def close(self):
        self.note("close")
"""


def test_the_engines_of_all_writers_are_released_and_closed() -> None:
    Path("noting.py").write_text(NOTING)
    run(
        scripted(
            "engine={type: 'noting.py:Noting'}",
            "sampling.generators=[policy, {type: 'noting.py:Noting'}]",
            "loop={iterations: 1, control: none}",
            "run=noted-run",
        )
    )
    noted = Path("noted").read_text().splitlines()
    assert sorted(noted[-2:]) == ["close servers", "close writer-2"]
    assert noted.count("release servers") == noted.count("release writer-2") == 1


def test_engines_that_were_opened_are_closed_where_another_can_not_be() -> None:
    Path("noting.py").write_text(NOTING)
    wanted = scripted(
        "engine={type: 'noting.py:Noting'}",
        "sampling.generators=[policy, {type: 'noting.py:Noting'}, {type: local}]",
        "run=noted-run",
    )
    with pytest.raises(RecipeError, match="needs a model"):
        run(wanted)
    assert sorted(Path("noted").read_text().split()) == ["close", "close", "servers", "writer-2"]


def test_the_policy_writes_by_one_name() -> None:
    with pytest.raises(RecipeError, match="policy is there twice"):
        run(scripted("sampling.generators=[policy, {type: policy, share: 2}]", "run=twice"))


class _CutOff(BaseException):
    """The process dies here."""


def cut_off(recipe: rsft.Recipe, point: str) -> None:
    def die(name: str) -> None:
        if name == point:
            raise _CutOff

    with failpoints.listening(die), pytest.raises(_CutOff):
        run(recipe)


def test_all_runs_are_listed_the_last_to_change_first() -> None:
    run(scripted("run=runs/first"))
    run_seeds(scripted("run=runs/group"), 2)
    cut_off(scripted("run=runs/cut"), "train.finishing")
    Path("runs/broken").mkdir()
    Path("runs/broken/recipe.yaml").write_text("}{")
    Path("runs/broken/ledger.sqlite").write_bytes(b"")
    Path("runs/notes").mkdir()
    found = runs_in(Path("runs"))
    names = [str(Path(one["run"]).relative_to("runs")) for one in found]
    assert sorted(names) == ["broken", "cut", "first", "group/seed_0", "group/seed_1"]
    changed = [one["changed"] for one in found]
    assert changed == sorted(changed, reverse=True)
    by_name: dict[str, dict[str, Any]] = dict(zip(names, found, strict=True))
    summary = json.loads(Path("runs/first/summary.json").read_text())
    first = by_name["first"]
    assert (first["state"], first["iterations"], first["of_iterations"]) == ("finished", 2, 2)
    assert first["base"] == summary["base"]["heldout_acceptance"]
    assert first["best"] == summary["iterations"][first["handed_back"] - 1]["heldout_acceptance"]
    assert first["gain_over_control"] == summary["gain_over_control"]
    assert (by_name["cut"]["state"], by_name["cut"]["iterations"]) == ("interrupted", 0)
    assert by_name["broken"]["state"] == "can't be read"


def test_a_run_that_somebody_writes_and_one_that_was_stopped_say_so() -> None:
    recipe = scripted("run=runs/one")
    run(recipe)
    with RunFolder.open(Path("runs/one"), write=True) as folder:
        folder.reopen()
        (one,) = runs_in(Path("runs"))
        assert one["state"].startswith("at work, process ")
    run(scripted("run=runs/stopped", "guards.few_accepted={least: 1000, act: stop}"))
    states = {Path(one["run"]).name: one["state"] for one in runs_in(Path("runs"))}
    assert states["stopped"] == "stopped: few_accepted"


def test_listing_on_the_command_line(cli: Command) -> None:
    assert cli("runs").code == 2, "there is no folder 'runs' yet"
    Path("runs").mkdir()
    assert "There is no run" in cli("runs").out
    run(scripted("run=runs/one"))
    said = cli("runs")
    assert "runs/one" in said.out
    assert "finished" in said.out
    assert "2/2" in said.out
    assert cli("runs", "runs", "--json").json[0]["state"] == "finished"


def test_what_a_crash_or_a_repair_left_is_removed_and_nothing_else() -> None:
    recipe = scripted("run=runs/one")
    summary = run(recipe)
    folder = Path("runs/one")
    before = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    (folder / "damaged").mkdir()
    (folder / "damaged" / "segment.part").write_bytes(b"x" * 1000)
    (folder / "iterations/1/weights.part").mkdir(parents=True)
    (folder / "iterations/1/weights.part/inner.part").write_bytes(b"x" * 500)
    would = clean(folder, dry_run=True)
    assert {one["path"]: one["bytes"] for one in would["removed"]} == {
        "damaged": 1000,
        "iterations/1/weights.part": 500,
    }
    assert (folder / "damaged").exists()
    assert clean(folder)["bytes"] == would["bytes"] == 1500
    assert not (folder / "damaged").exists()
    assert not (folder / "iterations/1/weights.part").exists()
    assert {path: path.read_bytes() for path in folder.rglob("*.parquet")} == before
    assert clean(folder)["removed"] == []
    assert run(recipe) == summary


@pytest.fixture
def tiny(tiny_folder: Path) -> rsft.Recipe:
    """A finished run whose policies have weights."""
    Path("tiny.yaml").write_text(TINY % tiny_folder)
    recipe = rsft.load_recipe("tiny.yaml")
    run(recipe)
    return recipe


def kept() -> set[str]:
    """The policies that have their weights, by iteration and arm."""
    return {"/".join(path.parts[-4:-2]) for path in Path("runs/tiny").rglob("adapter_model.safetensors")}


def test_superseded_policies_go_and_the_run_stays_whole_and_goes_on(tiny: rsft.Recipe) -> None:
    folder = Path("runs/tiny")
    summary = json.loads((folder / "summary.json").read_text())
    everything = kept()
    best = f"{summary['handed_back']}/policy"
    offered = clean(folder)
    assert kept() == everything
    assert offered["more_bytes"] > 0
    said = clean(folder, policies=True)
    assert said["bytes"] == offered["more_bytes"]
    assert kept() == {"3/policy", "3/control"} | ({best} & everything)
    assert run(tiny) == summary, "nothing is owed"
    with RunFolder.open(folder, write=False) as opened:
        assert opened.is_whole
        gone = opened.policies.of(1 if best != "1/policy" else 2, "policy")
    assert gone is not None
    with pytest.raises(ModelError, match="rsft clean --policies"):
        check_there(gone)
    further = run(rsft.load_recipe("tiny.yaml", "loop.iterations=4"))
    assert len(further["iterations"]) == 4
    assert further["iterations"][:3] == summary["iterations"]


def test_killed_while_it_frees_it_goes_on_where_it_was(tiny: rsft.Recipe) -> None:
    summary = json.loads(Path("runs/tiny/summary.json").read_text())

    def die(name: str) -> None:
        if name == "policy.freed":
            raise _CutOff

    with failpoints.listening(die), pytest.raises(_CutOff):
        clean(Path("runs/tiny"), policies=True)
    assert run(tiny) == summary
    clean(Path("runs/tiny"), policies=True)
    assert {"3/policy", "3/control"} <= kept()
    assert clean(Path("runs/tiny"), policies=True)["removed"] == []


def test_an_unfinished_run_keeps_its_policies(cli: Command) -> None:
    cut_off(scripted("run=runs/cut"), "train.finishing")
    with pytest.raises(RunError, match=r"is not finished.*rsft resume runs/cut"):
        clean(Path("runs/cut"), policies=True)
    said = cli("clean", "runs/cut")
    assert "Nothing of runs/cut can be removed" in said.out
    assert cli("clean", "runs/none").code == 2
