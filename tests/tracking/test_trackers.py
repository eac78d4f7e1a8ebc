"""Every tracker is told all that a run committed, once, whatever happened to the run in between."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import pytest
import yaml
from tracked_runs import Told, in_another_process, recipe_for, told, wandb_records

import rsft
from rsft.loop import run
from rsft.progress import Silent
from rsft.tracking import tell_all
from rsft.tracking.numbers import committed

TRACKERS = ["tensorboard", "wandb", "mlflow", "trackio"]

# Ends the process at the third evaluation, when the tracker was told something.
KILLED_WHEN_TOLD = """
import json, os, signal, sys, time
from pathlib import Path
import rsft
from rsft import failpoints
from rsft.loop import run

recipe = rsft.load_recipe("bot.yaml", f"tracking=[{sys.argv[1]}]")
evaluations = []

def listener(point):
    if point == "evaluate.begun":
        evaluations.append(point)
        if len(evaluations) == 3:
            file = Path(recipe.run, "tracking", f"{sys.argv[1]}.json")
            until = time.monotonic() + 120
            while time.monotonic() < until and not (file.is_file() and json.loads(file.read_text())["told"]):
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)

with failpoints.listening(listener):
    run(recipe)
"""
RUN = """
import sys
import rsft
from rsft.loop import run
from rsft.progress import Silent
from rsft.summary import finished_summary
from rsft.tracking import tell_all

class Warned(Silent):
    def say(self, line):
        print(line, file=sys.stderr)

recipe = rsft.load_recipe("bot.yaml", f"tracking=[{sys.argv[1]}]")
# A run that came to its end before it was killed does not go on: what is owed is told by rsft track.
(run if finished_summary(recipe) is None else tell_all)(recipe, Warned())
"""


def expected(run_folder: Path) -> Told:
    """What the run committed."""
    found: Told = {}
    for stage in committed(run_folder):
        for place in stage.places:
            for name, value in place.values.items():
                found.setdefault((name, place.at), []).append(value)
    return found


def same(found: Told, wanted: Told) -> bool:
    """TensorBoard keeps numbers in four bytes."""
    assert not (found.keys() ^ wanted.keys()), "nothing is missing, and nothing else is there"
    return {key for key in wanted if found[key] != pytest.approx(wanted[key], rel=1e-6)} == set()


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_run_is_told_while_it_goes_on(tracker: str, at_work: Path) -> None:
    said: list[str] = []

    class Listening(Silent):
        def say(self, line: str) -> None:
            said.append(line)

    recipe = recipe_for(tracker)
    run(recipe, Listening())
    wanted = expected(Path(recipe.run))
    assert said == []
    assert same(told(tracker, Path(recipe.run)), wanted)
    assert {len(values) for values in wanted.values()} == {1}, "no number has two values at a place"


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("how", ["told", "told, and not noted yet"])
def test_a_killed_run_is_told_once_and_wholly(tracker: str, how: str, at_work: Path) -> None:
    recipe = recipe_for(tracker)
    if how == "told":
        killed = in_another_process(KILLED_WHEN_TOLD, tracker)
    else:
        killed = in_another_process(RUN, tracker, RSFT_FAILPOINT="tracking.told")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    memory = json.loads((Path(recipe.run) / f"tracking/{tracker}.json").read_text())
    assert bool(memory["told"]) == (how == "told")
    again = in_another_process(RUN, tracker)
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    assert json.loads((Path(recipe.run) / f"tracking/{tracker}.json").read_text())["id"] == memory["id"]
    found = told(tracker, Path(recipe.run))
    assert same(found, expected(Path(recipe.run)))


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_finished_run_can_be_told_afterwards_and_once(tracker: str, at_work: Path) -> None:
    untold = rsft.load_recipe("bot.yaml")
    run(untold)
    assert not (Path(untold.run) / "tracking").exists()
    stages = len(committed(Path(untold.run)))
    assert tell_all(recipe_for(tracker), Silent())[tracker] == {"told": stages, "failure": None}
    first = told(tracker, Path(untold.run))
    assert same(first, expected(Path(untold.run)))
    again = tell_all(recipe_for(tracker), Silent())[tracker]
    assert again == {"told": stages if tracker in ("tensorboard", "wandb") else 0, "failure": None}
    assert told(tracker, Path(untold.run)) == first


def test_a_run_that_goes_on_further_is_told_on_in_the_same_run(at_work: Path) -> None:
    run(recipe_for("mlflow"))
    longer = recipe_for("mlflow", "loop.iterations=3")
    run(longer)
    found, wanted = told("mlflow", Path(longer.run)), expected(Path(longer.run))
    ended_before = {key: values for key, values in found.items() if key[0].split("/")[1][:3] == "run" and key[1] == 2}
    assert ("best_iteration/run", 2) in ended_before
    assert same(found, wanted | ended_before)
    assert ("heldout_acceptance/policy", 3) in found


def test_what_is_told(at_work: Path) -> None:
    recipe = rsft.load_recipe("bot.yaml", "guards={plateau: {act: warn, after: 1}}")
    summary = run(recipe)
    found = expected(Path(recipe.run))
    first = summary["iterations"][0]
    for end, key in (("", "value"), ("_low", "low"), ("_high", "high")):
        assert found[f"heldout_acceptance/policy{end}", 0] == [summary["base"]["heldout_acceptance"][key]]
        assert found[f"heldout_acceptance/policy{end}", 1] == [first["heldout_acceptance"][key]]
        assert found[f"heldout_acceptance/control{end}", 1] == [first["control"]["heldout_acceptance"][key]]
        assert found[f"gain_over_control/policy{end}", 1] == [first["gain_over_control"][key]]
        assert found[f"gain_over_base/run{end}", 2] == [summary["gain_over_base"][key]]
    for key in ("candidates", "accepted", "prompts_solved", "tokens", "trained_on"):
        assert found[f"{key}/policy", 1] == [first[key]]
    for stage, seconds in first["seconds"].items():
        assert found[f"seconds_{stage}/policy", 1] == [seconds]
    assert found["sampled_unique_share/policy", 1] == [first["sampled"]["unique_share"]]
    assert found["greedy_mean_words/control", 2] == [summary["iterations"][1]["control"]["mean_words"]]
    assert found["scores_polite/policy", 2] == [summary["iterations"][1]["scores"]["polite"]["value"]]
    assert [found["train_loss/policy", step] for step in (1, 2)] == [[0.0], [0.0]], "one step in each iteration"
    alarms = Counter(alarm["iteration"] for alarm in summary["alarms"])
    assert [found["alarms/policy", i] for i in (1, 2)] == [[alarms[1]], [alarms[2]]]
    assert found["alarms_plateau/policy", 2] == [1]
    assert found["best_iteration/run", 2] == [summary["best_iteration"]]


def test_no_text_of_a_prompt_or_reply_is_told_and_wandb_is_told_the_recipe(at_work: Path) -> None:
    recipe = recipe_for("wandb", "tracking={tensorboard: {}, wandb: {project: bots, name: first}, mlflow: {}}")
    run(recipe)
    kept = [file for file in (*Path(recipe.run, "tracking").rglob("*"), *Path("mlruns").rglob("*")) if file.is_file()]
    assert len(kept) > 10
    for file in kept:
        assert b"of train" not in file.read_bytes(), file
        assert b"of heldout" not in file.read_bytes(), file
    records = wandb_records(Path(recipe.run))
    (begun,) = [record.run for record in records if record.HasField("run")][:1]
    assert (begun.project, begun.display_name) == ("bots", "first")
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert config["selection"] == recipe.selection
    assert config["sampling"]["candidates"] == 6
    files = {item.path for record in records if record.HasField("files") for item in record.files.files}
    assert not {name for name in files if "requirements" in name or "metadata" in name or "output" in name}
    assert not [record for record in records if record.HasField("output_raw") or record.HasField("output")]


def test_tensorboard_shows_the_recipe_and_may_write_elsewhere(at_work: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = recipe_for("tensorboard", "tracking={tensorboard: {folder: all, name: first}}")
    run(recipe)
    run(recipe_for("tensorboard", "tracking={tensorboard: {folder: all, name: first}}", "run=runs/other"))
    files = list(Path("all/first").iterdir())
    assert len(files) == 2, "one run never takes away another's, whatever they are called"
    id = json.loads(Path(recipe.run, "tracking/tensorboard.json").read_text())["id"]
    (own,) = [file for file in files if id in file.name]
    events = EventAccumulator(str(own)).Reload()
    (shown,) = events.Tensors("recipe")
    text = shown.tensor_proto.string_val[0].decode()
    assert yaml.safe_load(text)["selection"] == recipe.selection
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_mlflow_is_told_the_recipe_and_how_the_run_ended(at_work: Path) -> None:
    from mlflow.tracking import MlflowClient

    recipe = recipe_for("mlflow", "tracking={mlflow: {experiment: bots, name: first}}")
    run(recipe)
    client = MlflowClient()
    experiment = client.get_experiment_by_name("bots")
    assert experiment is not None
    (one,) = client.search_runs([experiment.experiment_id])
    assert (one.info.run_name, one.info.status) == ("first", "FINISHED")
    assert one.data.params["sampling.candidates"] == "6"
    assert one.data.params["selection"] == str(recipe.selection)
