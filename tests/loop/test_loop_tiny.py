"""The story on a tiny real model in fp32: killed in any stage and resumed, it comes to the same, to the last bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rsft
from command import Said
from processes import run_rsft
from rsft.errors import RunError
from rsft.loop import run
from rsft.store import RunFolder
from rsft.training.settings import launch_file
from rsft.training.sft import SftTraining

RECIPE = """
model: {model}
dtype: float32
prompts: {{train: train.jsonl, heldout: heldout.jsonl}}
sampling: {{candidates: 8, temperature: 0.9, max_tokens: 24}}
scorers: {{odd: mine.py:odd}}
selection: [odd >= 1, no_duplicates, {{cap: 2}}]
training: {{lora: {{rank: 4}}, learning_rate: 1.0e-2, epochs: 2, batch_size: 4}}
evaluation: {{samples: 2}}
loop: {{iterations: 2}}
"""
SCORER = '''
def odd(replies):
    """1 if the reply has an odd number of characters."""
    return [len(reply.text) % 2 for reply in replies]
'''
# One in each stage, and one between the new weights and their name.
POINTS = [
    "sample.drawn:40",
    "scores.committed:3",
    "select.finishing:2",
    "train.step:3",
    "weights.written:2",
    "weights.kept:2",
]
POINTS += ["train.finishing:3", "evaluate.finishing:4"]


def rsft_run(run: str, failpoint: str = "") -> Said:
    return run_rsft("run", "tiny.yaml", "--json", "--set", f"run={run}", RSFT_FAILPOINT=failpoint)


def outcome(run: str) -> dict[str, Any]:
    with RunFolder.open(Path(run), write=False) as folder:
        return {
            # Log-probabilities are rounded as the shapes of batches have it: others, after an interruption.
            "candidates": [replace(c, logprob=0.0, model_logprob=0.0) for c in folder.candidates()],
            "scores": folder.scores(),
            "decisions": [folder.decisions(arm) for arm in ("policy", "control")],
            "policies": sorted(
                (stage["iteration"], stage["arm"], *stage["info"]["policy"].values())
                for stage in folder.stages()
                if stage["stage"] == "train"
            ),
            "rows": [json.loads(p.read_text())["rows"] for p in sorted(Path(run).glob("iterations/*/*/training.json"))],
        }


@pytest.fixture(scope="module")
def whole(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe, its files, and an uninterrupted run."""
    folder = tmp_path_factory.mktemp("story")
    for split, count in (("train", 8), ("heldout", 6)):
        rows = [{"prompt": f"{split} question {i}" + " and so on" * i} for i in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "mine.py").write_text(SCORER)
    (folder / "tiny.yaml").write_text(RECIPE.format(model=tiny_folder))
    here = Path.cwd()
    os.chdir(folder)
    try:
        done = rsft_run("runs/whole")
        assert done.code == 0, done.err
    finally:
        os.chdir(here)
    return folder


def test_the_policies_are_new_and_known_by_their_content(whole: Path) -> None:
    said = outcome(str(whole / "runs/whole"))
    hashes = [policy for _, _, policy, _ in said["policies"]]
    assert len(hashes) == 4
    assert len(set(hashes)) == 4
    summary = json.loads((whole / "runs/whole/summary.json").read_text())
    assert summary["base_policy"] not in hashes
    assert summary["fakes"] == []
    trained_on = [part["trained_on"] for part in summary["iterations"]]
    assert trained_on[1] == sum(part["accepted"] for part in summary["iterations"]), "from base, on all of them"
    for part in summary["iterations"]:
        assert part["control"]["accepted"] <= part["accepted"]
        assert part["kl_from_base"]["value"] > 0 == summary["base"]["kl_from_base"]["value"]
        assert part["kl_from_base"]["n"] == 6
        assert part["sampled"]["entropy"] > 0


@pytest.mark.parametrize("point", POINTS)
def test_killed_in_any_stage_and_resumed_it_comes_to_the_same(
    whole: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.chdir(whole)
    run = "runs/" + point.replace(":", "-")
    killed = rsft_run(run, point)
    assert killed.code == -signal.SIGKILL, killed.err
    assert rsft_run(run).code == 0
    assert outcome(run) == outcome("runs/whole")


def test_two_processes_train_and_the_epoch_of_the_best_score_is_kept(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(whole)
    Path("two.yaml").write_text(launch_file("ddp").read_text() + "num_processes: 2\n")
    training = ["training.launch=two.yaml", "training.heldout_share=0.3", "training.keep_by=score"]
    sets = [word for key in (*training, "loop.iterations=1", "loop.control=none") for word in ("--set", key)]
    program = [sys.executable, "-m", "rsft", "run", "tiny.yaml", "--json", "--set", "run=runs/together", *sets]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = Path("runs/together").glob("iterations/*/policy/training.json")
    log = json.loads(file.read_text())["log"]
    scores = [entry["heldout_score"] for entry in log if "heldout_score" in entry]
    assert len(scores) == 2
    assert all(0 <= score <= 1 for score in scores)
    with RunFolder.open(Path("runs/together"), write=False) as folder:
        decided = folder.decisions("policy")
        judged = [
            candidate
            for candidate in folder.candidates()
            if candidate.key not in decided and candidate.key.prompt_id in {key.prompt_id for key in decided}
        ]
    conversations = {candidate.key.prompt_id for candidate in judged}
    assert len(judged) == 2 * len(conversations) > 0, "one greedy reply of each epoch, kept with the run"


def test_a_moved_run_goes_on_and_its_policy_answers(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(whole)
    rsft_run("runs/to_move", "train.begun:2")
    Path("runs/to_move").rename("runs/moved")
    resumed = run_rsft("resume", "runs/moved", "--json")
    assert resumed.code == 0, resumed.err
    assert outcome("runs/moved") == outcome("runs/whole")
    from rsft.sampling import sample_replies

    said = sample_replies(
        "runs/moved",
        text="Hello",
        prompt_id=None,
        iteration=2,
        system=None,
        candidates=3,
        params=rsft.SamplingParams(0.9, max_tokens=8),
        seed=0,
    )
    summary = json.loads(Path("runs/moved/summary.json").read_text())
    assert said["policy"] == summary["iterations"][1]["policy"]["hash"]
    assert len(said["replies"]) == 3


def test_a_fork_takes_over_what_would_be_drawn_and_trained_all_the_same(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(whole)
    recipe = rsft.load_recipe("tiny.yaml", "run=runs/forked", "evaluation.samples=1", "loop.control=none")
    monkeypatch.setattr("rsft.training.sft.SftTraining.train", lambda *_: pytest.fail("it was trained before"))
    monkeypatch.setattr(
        "rsft.engines.local.decoding.Decoding.run", lambda *_: pytest.fail("all of it was drawn before")
    )
    run(recipe, fork=Path("runs/whole"))
    old, new = (json.loads(Path(f"runs/{name}/summary.json").read_text()) for name in ("whole", "forked"))
    for before, after in zip(old["iterations"], new["iterations"], strict=True):
        assert before["policy"] == after["policy"]
        assert before["heldout_acceptance"] == after["heldout_acceptance"]
    assert len(list(Path("runs/forked").rglob("adapter_model.safetensors"))) == 2


@pytest.mark.parametrize("damage", ["flip", "gone"])
def test_damaged_weights_are_found_and_trained_again(whole: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    monkeypatch.chdir(whole)
    shutil.copytree("runs/whole", f"runs/{damage}")
    weights = Path(f"runs/{damage}/iterations/1/policy/weights/adapter_model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.unlink() if damage == "gone" else weights.write_bytes(content)
    before = outcome("runs/whole")
    run(rsft.load_recipe("tiny.yaml", f"run=runs/{damage}"))
    assert outcome(f"runs/{damage}") == before
    with RunFolder.open(Path(f"runs/{damage}"), write=False) as folder:
        (event,) = (event for event in folder.ledger.events() if event["kind"] == "policy_damaged")
        assert (event["iteration"], event["arm"]) == (1, "policy")
        assert folder.is_whole


def test_weights_that_come_out_otherwise_are_refused(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(whole)
    shutil.copytree("runs/whole", "runs/otherwise")
    Path("runs/otherwise/iterations/1/policy/weights/adapter_model.safetensors").unlink()
    honest = SftTraining.train_rows

    def otherwise(self: SftTraining, network: Any, rows: Any, start: Any, folder: Any, seed: int, *rest: Any) -> Any:
        return honest(self, network, rows, start, folder, seed + 1, *rest)

    monkeypatch.setattr(SftTraining, "train_rows", otherwise)
    with pytest.raises(RunError, match=r"iteration 1 \(policy\) were damaged, and training again gave others"):
        run(rsft.load_recipe("tiny.yaml", "run=runs/otherwise"))
