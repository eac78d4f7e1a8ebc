"""Tracking is off unless asked for, says early what it lacks, and never harms a run."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tracked_runs import IMPORTS, in_another_process, recipe_for

import rsft
from command import Command
from rsft.config import recipe_yaml
from rsft.config.load import validate
from rsft.errors import RecipeError
from rsft.loop import run
from rsft.progress import Silent
from rsft.setup import check
from rsft.tracking import track
from rsft.tracking.base import Row


class Hearing(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


class Frail:
    """A tracker that fails as often as it is told to."""

    begins_anew: ClassVar[bool] = False
    failures: ClassVar[int] = 0
    rows: ClassVar[list[Row]] = []
    hangs: ClassVar[threading.Event | None] = None

    @classmethod
    def problem(cls) -> str | None:
        return None

    @classmethod
    def open(cls, options: Any, about: Any) -> Frail:
        return cls()

    def tell(self, rows: Sequence[Row]) -> None:
        if Frail.hangs is not None:
            Frail.hangs.wait(60)
        if Frail.failures > 0:
            Frail.failures -= 1
            raise ConnectionError("no server at\nhttp://tracker")
        Frail.rows.extend(rows)

    def close(self, finished: bool) -> None:
        pass


@pytest.fixture
def frail(at_work: Path, monkeypatch: pytest.MonkeyPatch) -> type[Frail]:
    monkeypatch.setattr(track, "_tracker", lambda name: Frail)
    monkeypatch.setattr(Frail, "failures", 0)
    monkeypatch.setattr(Frail, "rows", [])
    monkeypatch.setattr(Frail, "hangs", None)
    return Frail


def test_nothing_of_the_libraries_is_imported_unless_asked_for(at_work: Path) -> None:
    program = f"""
import sys
from rsft.cli.app import app
import rsft
from rsft.loop import run
from rsft.setup import check
recipe = rsft.load_recipe("bot.yaml")
check(recipe)
run(recipe)
print(sorted(set({sorted(IMPORTS)!r}) & set(sys.modules)))
check(rsft.load_recipe("bot.yaml", "tracking={sorted(IMPORTS)}"))
print(sorted(set({sorted(IMPORTS)!r}) & set(sys.modules)))
"""
    done = in_another_process(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[]", "[]"]
    assert not Path("runs/bot/tracking").exists()


def test_what_a_recipe_may_say(at_work: Path) -> None:
    assert rsft.load_recipe("bot.yaml").tracking.wanted == {}
    assert list(rsft.load_recipe("bot.yaml", "tracking=wandb").tracking.wanted) == ["wandb"]
    assert list(rsft.load_recipe("bot.yaml", "tracking={mlflow: , wandb: {project: x}}").tracking.wanted) == [
        "wandb",
        "mlflow",
    ]
    recipe = rsft.load_recipe("bot.yaml", "tracking={tensorboard: {folder: all}}")
    assert recipe.tracking.tensorboard is not None
    assert recipe.tracking.tensorboard.folder == str(at_work / "all")
    import yaml

    assert validate(yaml.safe_load(recipe_yaml(recipe)), where="here") == recipe
    with pytest.raises(RecipeError, match="Did you mean 'wandb'"):
        rsft.load_recipe("bot.yaml", "tracking=[wandbe]")
    with pytest.raises(RecipeError, match=r"'tracking\.wandb\.key' is not a key"):
        rsft.load_recipe("bot.yaml", "tracking={wandb: {key: secret}}")


@pytest.mark.parametrize("tracker", sorted(IMPORTS))
def test_a_library_that_is_not_installed_is_missed_before_anything_is_done(
    tracker: str, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(track, "_is_installed", lambda name: name != tracker)
    recipe = recipe_for(tracker)
    for beginning in (check, run):
        with pytest.raises(RecipeError) as caught:
            beginning(recipe)
        assert f"pip install 'rsft[{tracker}]'" in str(caught.value)
    assert not Path(recipe.run, "recipe.yaml").exists()


def test_a_missing_key_or_server_is_missed_before_anything_is_done(
    at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(at_work / "netrc"))
    with pytest.raises(RecipeError, match="WANDB_API_KEY"):
        check(recipe_for("wandb"))
    (at_work / "netrc").write_text("machine api.wandb.ai login user password 0123\n")
    (at_work / "netrc").chmod(0o600)
    check(recipe_for("wandb"))
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example")
    with pytest.raises(RecipeError, match=r"wandb\.example"):
        check(recipe_for("wandb"))
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    check(recipe_for("wandb"))
    if importlib.util.find_spec("sqlalchemy") is None:
        with pytest.raises(RecipeError, match="MLFLOW_TRACKING_URI"):
            check(recipe_for("mlflow"))


def test_trackers_may_change_when_a_run_goes_on(at_work: Path, frail: type[Frail]) -> None:
    run(rsft.load_recipe("bot.yaml", "loop.iterations=1"))
    run(recipe_for("wandb", "loop.iterations=2"))
    assert {row.at for row in frail.rows if row.axis == "iteration"} == {0, 1, 2}, "what was before is told, too"


def test_a_tracker_that_fails_is_told_later_and_warned_of_once(frail: type[Frail], at_work: Path) -> None:
    frail.failures = 10**6
    hearing = Hearing()
    recipe = recipe_for("wandb", "loop.iterations=1")
    summary = run(recipe, hearing)
    assert summary["finished"]
    (line,) = hearing.lines
    assert line.startswith("wandb could not be told of the run (ConnectionError: no server at http://tracker)")
    assert f"rsft track {recipe.run}" in line
    assert frail.rows == []
    frail.failures = 0
    run(recipe_for("wandb", "loop.iterations=2"))
    memory = json.loads(Path(recipe.run, "tracking/wandb.json").read_text())["rows"]
    result = sum(memory[key] for key in list(memory)[: list(memory).index("1/result")])
    numbers = [row.number for row in frail.rows]
    # That the run had ended after an iteration is told only while it is so: soon it is not, and its number is left out.
    assert sorted({*numbers, result}) == list(range(sum(memory.values())))
    assert numbers == sorted(set(numbers))
    assert {row.at for row in frail.rows if row.axis == "iteration"} == {0, 1, 2}


def test_a_warning_holds_no_secret(frail: type[Frail], at_work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "canary-4711")

    def told(self: Frail, rows: Sequence[Row]) -> None:
        raise ConnectionError("http://user:hunter2@tracker refused canary-4711")

    monkeypatch.setattr(Frail, "tell", told)
    hearing = Hearing()
    run(recipe_for("mlflow", "loop.iterations=1"), hearing)
    (line,) = hearing.lines
    assert "http://tracker refused $MLFLOW_TRACKING_TOKEN" in line
    assert not [file for file in at_work.rglob("*") if file.is_file() and b"canary-4711" in file.read_bytes()]


def test_a_tracker_that_fails_for_a_while_is_told_all_in_the_end(frail: type[Frail]) -> None:
    frail.failures = 1
    hearing = Hearing()
    run(recipe_for("wandb"), hearing)
    assert len(hearing.lines) == 1
    assert [row.number for row in frail.rows] == list(range(len(frail.rows)))
    assert any("best_iteration/run" in row.values for row in frail.rows)


def test_a_tracker_that_hangs_does_not_hold_up_a_run(frail: type[Frail], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track, "LAST_SECONDS", 0.2)
    monkeypatch.setattr(Frail, "hangs", threading.Event())
    hearing = Hearing()
    assert run(recipe_for("wandb"), hearing)["finished"]
    (line,) = hearing.lines
    assert "it did not take all in time" in line
    assert Frail.hangs is not None
    Frail.hangs.set()
    for thread in threading.enumerate():
        if thread.name == "rsft-wandb":
            thread.join(60)


def test_an_interrupted_run_has_told_what_it_committed(frail: type[Frail], monkeypatch: pytest.MonkeyPatch) -> None:
    from rsft.stages import Stages

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Stages, "look_back", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(recipe_for("wandb"))
    assert any("heldout_acceptance/control" in row.values for row in frail.rows)


def test_the_command_tells_a_finished_run(cli: Command, at_work: Path) -> None:
    run(rsft.load_recipe("bot.yaml"))
    said = json.loads(cli("track", "runs/bot", "--set", "tracking=[tensorboard]", "--json").out)
    assert said["trackers"]["tensorboard"]["failure"] is None
    assert said["trackers"]["tensorboard"]["told"] > 10
    assert cli("track", "runs/bot").code == 2, "the run's own recipe names no tracker"
    assert cli("track", "runs/bot", "--set", "seed=7").code == 2, "only trackers can be said here"
