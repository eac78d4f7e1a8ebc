"""A recipe is read strictly, and every mistake has a message that names the fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rsft.config import Recipe, load_recipe, recipe_differences, recipe_yaml
from rsft.config.lines import with_line
from rsft.config.load import bundled_path, shipped_recipes
from rsft.config.schema import recipe_schema
from rsft.errors import RecipeError
from rsft.selection import parse_selection

RULES: list[Any] = ["a >= 1", {"certified": {"score": "b"}}, "b <= 9", "no_near_duplicates", "b < 3"]
SMALL = """
model: some/model
prompts: {train: train.jsonl}
scorers: {tidy: one_line}
selection: [tidy >= 1]
"""


@pytest.fixture
def recipe_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    return file


def test_defaults_and_the_run_folder_follow_from_the_file(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    assert recipe.run == str(recipe_file.parent / "runs" / "small")
    assert recipe.model == ["some/model"]
    assert recipe.loop.iterations == 3
    assert recipe.loop.control == ["random"]


def test_the_resolved_recipe_alone_is_enough(recipe_file: Path, tmp_path: Path) -> None:
    recipe = load_recipe(recipe_file, ["training.lora.rank=4", "training.learning_rate=1e-5", "seed=3"])
    again = tmp_path / "again.yaml"
    again.write_text(recipe_yaml(recipe))
    assert load_recipe(again) == recipe
    assert recipe.training.options == {"lora": {"rank": 4}, "learning_rate": "1e-5"} or recipe.training.options == {
        "lora": {"rank": 4},
        "learning_rate": 1e-5,
    }


def test_numbers_like_1e_5_are_numbers(recipe_file: Path) -> None:
    assert load_recipe(recipe_file, ["sampling.temperature=1e-1"]).sampling.temperature == 0.1


def test_files_are_found_from_here_or_beside_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside, here = tmp_path / "recipes", tmp_path / "here"
    beside.mkdir()
    here.mkdir()
    (beside / "small.yaml").write_text(SMALL)
    (beside / "train.jsonl").write_text("{}")
    monkeypatch.chdir(here)
    assert load_recipe(beside / "small.yaml").prompts.train == [str(beside / "train.jsonl")]
    (here / "train.jsonl").write_text("{}")
    assert load_recipe(beside / "small.yaml").prompts.train == [str(here / "train.jsonl")]


def test_the_configuration_of_a_launch_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "ddp").mkdir()
    (tmp_path / "recipes/two.yaml").write_text("num_processes: 2")
    (tmp_path / "recipes/small.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)

    def launch(named: str) -> str:
        recipe = load_recipe(Path("recipes/small.yaml"), [f"training.launch={named}"])
        return str(recipe.training.options["launch"])

    assert launch("two.yaml") == str(tmp_path / "recipes/two.yaml")
    assert launch("ddp") == "ddp", "a shipped one, whatever folders there are"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["sampling.candidats=4"], "Did you mean 'candidates'"),
        (["modle=x"], "Did you mean 'model'"),
        (["sampling.candidates=0"], "sampling.candidates: Input should be greater than or equal to 1 (found 0)"),
        (["sampling.candidates=many"], 'found "many"'),
        (["sampling.temperature=0"], "8 equal candidates"),
        (["sampling.temperature=.nan"], "finite"),
        (["scorers={}"], "scorers"),
        (["prompts.train=null"], "prompts.train"),
        (["nonsense"], "--set takes KEY=VALUE"),
        (["tidy >= 0.5, tidy >= 1"], "or a line of the selection"),
        (["tidy => 0.5"], "or a line of the selection"),
        (["loop.schedule.selection=[[tidy >= 1]]", "tidy >= 0.5"], "the schedule has selections of its own"),
        (["tidy >= 0.5", "loop.schedule.selection=[[tidy >= 1]]"], "the schedule has selections of its own"),
        (["loop.schedule=3", "tidy >= 0.5"], "loop.schedule"),
        (["selection=3", "tidy >= 0.5"], "selection"),
        (["seed.x=1", "seed=2", "seed.y=3"], "'seed' is not a section"),
        (["training.start_from=nowhere"], "'base' or 'policy'"),
    ],
)
def test_mistakes(recipe_file: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, overrides)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("b >= 0.6", ["a >= 1", "b >= 0.6", "b <= 9", "no_near_duplicates", "b < 3"]),
        ("b>0.6", ["a >= 1", "b>0.6", "b <= 9", "no_near_duplicates", "b < 3"]),
        ("b <= -2", ["a >= 1", {"certified": {"score": "b"}}, "b <= -2", "no_near_duplicates"]),
        ("b == 2", ["a >= 1", "b == 2", "no_near_duplicates"]),
        ("c >= certified", [*RULES, "c >= certified"]),
    ],
)
def test_a_line_takes_the_place_of_those_that_point_the_same_way(line: str, expected: list[Any]) -> None:
    before = list(RULES)
    assert with_line(RULES, line) == expected
    assert before == RULES, "the rules themselves stay"


@pytest.mark.parametrize(
    "written",
    [
        "b >= 0.2",
        "b > 0.2",
        "b == 1",
        {"certified": "b"},
        {"certified": {"score": "b", "labels": 300}},
        {"threshold": {"score": "b", "value": 0.2}},
        {"threshold": {"score": "b", "comparison": "==", "value": 1}},
    ],
)
def test_a_line_is_known_however_it_is_written(written: Any) -> None:
    assert with_line([written, {"cap": 3}], "b >= 0.6") == ["b >= 0.6", {"cap": 3}]
    assert parse_selection([written])


def test_a_new_line_stands_before_what_chooses_among_the_rest() -> None:
    assert with_line(["a >= 1", {"most_novel": 3}], "b >= 0.5") == ["a >= 1", "b >= 0.5", {"most_novel": 3}]
    assert with_line([{"cap": 3}], "b >= 0.5") == ["b >= 0.5", {"cap": 3}]


def test_a_line_alone_can_be_changed() -> None:
    own = load_recipe("demo").selection
    changed = load_recipe("demo", [" relevant >= 0.6 "]).selection
    assert [new for new, old in zip(changed, own, strict=True) if new != old] == ["relevant >= 0.6"]


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "!!python/object/apply:os.system [ls]", ""])
def test_what_is_no_recipe(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=r"bad\.yaml"):
        load_recipe(file)


def test_a_recipe_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(RecipeError, match=r"Did you mean 'demo'\?"):
        load_recipe("demmo")
    with pytest.raises(RecipeError, match="service_dialogues"):
        load_recipe("nothing-like-it.yaml")


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_loads(name: str) -> None:
    assert isinstance(load_recipe(name), Recipe)


def test_bundled_files() -> None:
    assert Path(bundled_path("bundled:shop.train.jsonl.gz")).is_file()
    with pytest.raises(RecipeError, match="shop"):
        bundled_path("bundled:other.jsonl")


def test_differences_are_told_key_by_key(recipe_file: Path) -> None:
    before = load_recipe(recipe_file)
    after = load_recipe(recipe_file, ["sampling.candidates=4", "run=elsewhere", "training.epochs=1"])
    assert recipe_differences(before, after) == ["sampling.candidates: 8 → 4", "training.epochs: (not there) → 1"]


def test_how_a_writers_server_is_asked_may_change_and_what_it_is_may_not(recipe_file: Path) -> None:
    def writing(**options: object) -> Recipe:
        server = {"type": "openai", "url": "http://127.0.0.1:1/v1", "model": "big", **options}
        return load_recipe(recipe_file, [f"sampling.generators={json.dumps(['policy', server])}"])

    paid = {"price": {"input": 1, "output": 2}}
    other = writing(url="http://127.0.0.1:2/v1", concurrency=3, **paid, max_cost=4, timeout_seconds=5)
    assert recipe_differences(writing(**paid, max_cost=2), other) == []
    assert recipe_differences(writing(), writing(model="small")) == ['sampling.generators.1.model: "big" → "small"']


def test_a_servers_name_for_its_model_is_no_path(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "big").mkdir()
    engine = "{type: %s, model: big}"
    for kind in ("openai", "vllm"):
        assert load_recipe(recipe_file, [f"engine={engine % kind}"]).engine == {"type": kind, "model": "big"}
    recipe = load_recipe(recipe_file, [f"sampling.generators=[{engine % 'openai'}, {engine % 'vllm'}]"])
    assert recipe.sampling.generators == [
        {"type": "openai", "model": "big"},
        {"type": "vllm", "model": str(tmp_path / "big")},
    ]


def test_the_schema_is_for_recipes() -> None:
    schema = recipe_schema()
    assert schema["required"] == ["model", "prompts", "scorers", "selection"]
    assert "learning_rate" in schema["$defs"]["TrainingSection"]["properties"]
    assert schema["additionalProperties"] is False
    yaml.safe_dump(schema)
