"""`rsft select`, `train`, `label` and `calibrate`: what they print, and how one labels with single keys."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
import yaml

from command import Command
from questions import write_questions
from rsft.registry import RULES
from rsft.selection import parse_selection
from rsft.store import RunFolder

RECIPE = """
model: none
engine:
  type: scripted
  replies: ["Good: {prompt}", "Good [bold]day[/bold] \\e[31m", "Bad: {prompt}", "Good so far", Good]
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 4, max_tokens: 40}
scorers: {polite: {type: format, pattern: "Good.*"}, brief: mine.py:brief}
selection: [polite >= 1, brief >= 0.2]
training: {type: "null"}
evaluation: {samples: 0}
loop: {iterations: 1, control: none}
"""
RUN = "runs/scripted"


@pytest.fixture
def rsft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Command) -> Command:
    """Runs a command beside a run of 40 prompts."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def brief(replies):\n    return [1 / len(r.text.split()) for r in replies]\n")
    Path("scripted.yaml").write_text(RECIPE)
    write_questions(train=40, heldout=5)
    assert cli("run", "scripted.yaml").code == 0
    return cli


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What somebody types at a terminal."""
    typed: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(click, "getchar", lambda: typed.pop(0))
    return typed


def test_select_shows_what_would_change_and_keeps_it_by_name(rsft: Command) -> None:
    said = rsft("select", RUN, "--set", "selection=[brief >= 0.3]")
    assert said.code == 0, said.err
    for words in (
        "accepted",
        "prompts with one",
        "mean brief",
        "Jaccard",
        "just accepted by brief >= 0.3",
        "--save NAME",
    ):
        assert words in said.out
    assert "\x1b[31m" not in said.out
    assert "Kept as 'strict'" in rsft("select", RUN, "--set", "selection=[brief >= 0.3]", "--save", "strict").out
    trained = rsft("train", RUN, "--selection", "strict")
    assert "of the held-out prompts (n = 5)" in trained.out
    assert rsft("show", RUN, "--arm", "strict", "--accepted", "--json").json
    assert rsft("select", RUN, "--json").json["iterations"][0]["overlap"] == 1.0


def test_one_labels_with_single_keys(rsft: Command, keys: list[str]) -> None:
    keys += ["g", "b", "x", "u", "b", "s", "q"]
    said = rsft("label", RUN, "--scorer", "brief", "--by", "ann")
    assert said.code == 0, said.err
    assert "3 replies labelled by ann" in said.out
    assert f"calibrate {RUN} --scorer brief --iteration 1" in said.out
    assert "[g] good  [b] bad  [s] can't say  [u] undo  [q] quit" in said.out
    assert "\x1b[31m" not in said.out, "a reply does nothing to the terminal"
    keys += ["g"]
    assert "1 replies labelled" in rsft("label", RUN, "--scorer", "brief", "--by", "ann", "--count", "1").out
    found = rsft("calibrate", RUN, "--scorer", "brief", "--json").json
    assert (found["labels"], found["bad"]) == (4, 2.0), "what was skipped counts as bad"
    assert "Nothing is certified" in rsft("calibrate", RUN, "--scorer", "brief").out


def test_one_compares_pairs_with_single_keys(rsft: Command, keys: list[str]) -> None:
    assert (
        rsft("run", "scripted.yaml", "--set", "run=runs/pairs", "--set", 'engine.lessons=["Good: day [b]"]').code == 0
    )
    keys += ["1", "x", "u", "\x1b[C", "t", "q"]
    said = rsft("label", "runs/pairs", "--pairs", "base, policy@1", "--by", "ann")
    assert said.code == 0, said.err
    assert "2 pairs compared by ann; 3 are left." in said.out
    assert "[1] or [2] is better  [t] equal  [s] can't say  [u] undo  [q] quit" in said.out
    assert "[b]" in said.out
    assert "policy" not in said.out, "nothing tells whose reply it is"
    keys += ["s"]
    again = rsft("label", "runs/pairs", "--pairs", "base,policy@1", "--by", "ann", "--count", "1", "--json")
    assert again.json == {"run": "runs/pairs", "pairs": ["base", "policy@1"], "done": 1, "left": 2}
    assert "can't say" in again.err, "the questions do not mingle with the document"
    with RunFolder.open(Path("runs/pairs"), write=False) as folder:
        assert [one.word for one in folder.preferences()][1:] == ["tie", "skipped"]
    assert rsft("report", "runs/pairs").code == 0


def test_a_rule_labels_and_a_threshold_is_certified(rsft: Command) -> None:
    said = rsft("label", RUN, "--scorer", "brief", "--verifier", "polite >= 1", "--json").json
    assert said["left"] == 0
    out = rsft("calibrate", RUN, "--scorer", "brief").out
    for words in ("Certified: brief >= ", "at most 10% is bad, with 90% confidence", "Conformal selection"):
        assert words in " ".join(out.split())


def test_labels_by_files(rsft: Command) -> None:
    assert rsft("label", RUN, "--scorer", "brief", "--by", "ann", "--export", "l.csv", "--count", "7").code == 0
    rows = Path("l.csv").read_text().splitlines()
    assert len(rows) == 8
    Path("l.csv").write_text("\n".join([rows[0], *(row.replace(",ann,,", ",ann,good,") for row in rows[1:])]))
    assert "7 new labels" in rsft("label", RUN, "--scorer", "brief", "--import", "l.csv").out


def test_rules_are_listed_and_explained_with_examples_that_are_right(cli: Command) -> None:
    said = {one["name"]: one for one in cli("rules", "--json").json}
    assert said.keys() == set(RULES)
    assert said["threshold"]["looks_at"] == "each by itself"
    assert all(name in cli("rules").out for name in RULES)
    out = cli("rules", "quantile").out
    assert "all or prompt" in out
    for name in RULES:
        (example,) = yaml.safe_load(cli("rules", name, "--json").json["example"])["selection"]
        assert parse_selection([example]).rules
    assert "Did you mean 'quantile'" in cli("rules", "quantil").err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["select", RUN, "--set", "selection=[brif >= 1]"], "Did you mean 'brief'"),
        (["select", RUN, "--set", "seed=3"], "only selection and"),
        (["select", RUN, "--save", "control"], "there already"),
        (["select", "nowhere"], "nowhere"),
        (["train", RUN, "--selection", "none"], "rsft select RUN --save NAME"),
        (["label", RUN, "--scorer", "brif"], "Did you mean 'brief'"),
        (["label", RUN, "--scorer", "brief"], "no terminal"),
        (["label", RUN], "--scorer NAME (one by one) or --pairs A,B (side by side)"),
        (["label", RUN, "--pairs", "base,policy@1", "--scorer", "brief"], "With --pairs go"),
        (["label", RUN, "--pairs", "base"], "--pairs names two policies"),
        (["label", RUN, "--pairs", "base,policy@7"], "Did you mean 'policy@1'"),
        (["label", RUN, "--scorer", "brief", "--verifier", "polit >= 1"], "Did you mean 'polite'"),
        (["label", RUN, "--scorer", "brief", "--import", "a.csv", "--export", "b.csv"], "Give one of"),
        (["label", RUN, "--scorer", "brief", "--import", "a.csv"], "a.csv can't be read"),
        (["label", RUN, "--scorer", "brief", "--verifier", "polite >= 1", "--by", "ann"], "leave --by out"),
        (["calibrate", RUN, "--scorer", "brif"], "Did you mean 'brief'"),
        (["calibrate", RUN, "--scorer", "brief", "--iteration", "7"], "iteration 7"),
        (["calibrate", RUN, "--scorer", "brief", "--max-error", "2"], "max-error"),
    ],
)
def test_a_mistake_gives_one_message_that_names_the_fix(rsft: Command, words: list[str], hint: str) -> None:
    said = rsft(*words)
    assert said.code == 2, said.out
    assert hint in said.err
    assert "Traceback" not in said.err
