"""`rsft scorers`: the list, one scorer explained, and a recipe's scorers tested."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from command import Command
from rsft.registry import SCORERS

RECIPE = """
model: none
prompts: {train: "bundled:shop.train.jsonl.gz", heldout: "bundled:shop.heldout.jsonl.gz"}
scorers: {facts: states_facts, given: contradicts_nothing, brief: {type: length, max_words: 14}}
selection: [facts >= 1]
"""


@pytest.fixture
def scorers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Command) -> Command:
    """Runs `rsft scorers` in a folder with a recipe of the shop's conversations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("shop.yaml").write_text(RECIPE)

    return partial(cli, "scorers")


def test_all_are_listed_with_what_they_take(scorers: Command) -> None:
    said = {one["name"]: one for one in scorers("--json").json}
    assert said.keys() == set(SCORERS)
    assert said["length"]["takes"] == "a moment"
    assert said["mutual_information"]["takes"] == "a model"
    assert all(name in scorers().out for name in SCORERS)


def test_one_is_explained_with_options_and_an_example(scorers: Command) -> None:
    out = scorers("length").out
    assert re.search(r"max_words +whole number", out)
    assert "type: length" in out
    said = scorers("contradicts_nothing", "--json").json
    assert {"name": "with", "type": "list of texts"}.items() <= said["options"][0].items()


def test_ones_own_is_explained(scorers: Command) -> None:
    Path("mine.py").write_text(
        'def kind(replies, most: int = 3):\n    """Is it kind?"""\n    return [1 for _ in replies]\n'
    )
    out = scorers("mine.py:kind").out
    assert "Is it kind?" in out
    assert re.search(r"most +3", out)


def test_help_explains_the_list_and_the_test(scorers: Command) -> None:
    out = scorers("--help").out
    for words in ("rsft scorers NAME", "rsft scorers test RECIPE", "[NAME|test] [RECIPE]", "--labels", "--same"):
        assert words in out


@pytest.mark.parametrize(
    "words", [["scorers"], ["scorers", "nli"], ["scorers", "--help"], ["rules"], ["rules", "no_similar", "--json"]]
)
def test_no_model_library_is_loaded_to_list_and_explain(words: list[str]) -> None:
    program = (
        "import sys\nfrom rsft.cli import main\n"
        f"sys.argv = ['rsft', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_a_recipes_scorers_are_tested(scorers: Command) -> None:
    said = scorers("test", "shop.yaml", "--rows", "60", "--same", "intent", "--plot", "found.svg")
    assert said.code == 0, said.err
    for words in ("relevance same", "consistency", "novelty", "prefers good", "length, all", "s per 1,000"):
        assert words in said.out
    assert re.search(r"facts +1\.000 \[1\.00, 1\.00\] +100\.0% \[100, 100\] +60\b", said.out)
    assert "Rank correlation between scorers over all replies" in said.out
    assert "Mind: 'brief' prefers shorter replies" in " ".join(said.out.split())
    assert max(map(len, said.out.splitlines())) <= 80
    assert "relevance same" in Path("found.svg").read_text()


def test_the_numbers_are_there_as_json(scorers: Command) -> None:
    said = scorers("test", "shop.yaml", "--rows", "20", "--json").json
    assert said.keys() == {"replies", "good", "batch", "scorers", "correlations", "warnings", "scores"}
    found = said["scorers"]["facts"]
    assert found["trials"]["consistency"] == {
        "auc": {"value": 1.0, "low": 1.0, "high": 1.0, "n": 20},
        "prefers": {"value": 1.0, "low": 1.0, "high": 1.0, "n": 20},
        "n": 20,
        "failed": 0,
    }
    assert said["scores"] == scorers("test", "shop.yaml", "--rows", "20", "--json").json["scores"]
    assert said["scores"] != scorers("test", "shop.yaml", "--rows", "20", "--seed", "1", "--json").json["scores"]


def test_the_held_out_prompts_come_first(scorers: Command) -> None:
    both = scorers("test", "shop.yaml", "--rows", "20", "--json").json["scores"]
    # Wrong replies come from all prompts; the good ones are those of the prompts that are asked.
    alone = scorers("test", "shop.yaml", "--rows", "20", "--set", "prompts.train_limit=1", "--json").json["scores"]
    for name in ("facts", "given", "brief"):
        assert both["relevance"][name]["good"] == alone["relevance"][name]["good"]


def test_labelled_rows_are_a_trial_too(scorers: Command) -> None:
    rows = [{"prompt": f"{n}?", "chosen": "yes", "rejected": "no " * 20} for n in range(8)]
    Path("pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    said = scorers("test", "shop.yaml", "--labels", "pairs.jsonl")
    assert re.search(r"brief +1\.000 \[1\.00, 1\.00\] +100\.0% \[100, 100\] +8\b", said.out)
    assert re.search(r"facts +8 +16", said.out), "there are no facts: it fails, and has no numbers"
    assert "'facts' failed on 100.0%" in " ".join(said.out.split())


@pytest.mark.parametrize(
    ("words", "hints"),
    [
        (["state_facts"], ["Did you mean 'states_facts'"]),
        (["mine.py:kind"], ["mine.py", "does not exist"]),
        (["test"], ["rsft scorers test RECIPE"]),
        (["tset", "shop.yaml"], ["rsft scorers test shop.yaml"]),
        (["test", "shop.yaml", "--same", "intnt"], ["Did you mean 'intent'"]),
        (["test", "shop.yaml", "--labels", "nowhere.jsonl"], ["nowhere.jsonl"]),
        (["test", "shop.yaml", "--plot", "nowhere/found.svg"], ["--plot nowhere/found.svg"]),
        (["test", "shop.yaml", "--same", "intent", "--labels", "pairs.jsonl"], ["--same", "give one"]),
        (["nli", "--plot", "found.svg", "--rows", "9"], ["--plot, --rows", "rsft scorers test RECIPE"]),
        (["test", "shop.yaml", "--set", "scorers.facts=state_facts"], ["Did you mean 'states_facts'"]),
    ],
)
def test_a_mistake_gives_one_message_that_names_the_fix(scorers: Command, words: list[str], hints: list[str]) -> None:
    said = scorers(*words)
    assert said.code == 2, said.err
    assert all(hint in said.err for hint in hints), said.err
    assert "Traceback" not in said.err


def test_a_recipe_without_references_is_told_what_is_needed(scorers: Command) -> None:
    Path("bare.jsonl").write_text("\n".join(json.dumps({"prompt": f"{n}?"}) for n in range(3)))
    said = scorers("test", "shop.yaml", "--set", "prompts.train=bare.jsonl", "--set", "prompts.heldout=null")
    assert said.code == 2
    assert "reference" in said.err
    assert "--labels" in said.err


def test_a_recipe_of_which_no_trial_can_be_made_is_told_so(scorers: Command) -> None:
    row = {"id": "one", "prompt": "When?", "reference": "Soon."}
    Path("one.jsonl").write_text(json.dumps(row))
    said = scorers(
        "test", "shop.yaml", "--set", "prompts.train=one.jsonl", "--set", "prompts.heldout=null", "--plot", "f.svg"
    )
    assert said.code == 2
    assert "Nothing can be tested" in said.err
