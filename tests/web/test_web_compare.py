"""Policies side by side: the numbers are those of `rsft compare`, and only what is the same in all is compared."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from web_runs import EVIL, LUCKY, write_recipe

from questions import write_questions
from rsft import comparison
from rsft.comparison import Which
from rsft.config import differing_keys, recipe_differences
from rsft.errors import RunError
from rsft.loop import run
from rsft.saved import saved_recipe
from rsft.web.beside import GROUPS, Beside
from rsft.web.chart import Curve, chart_of_several
from rsft.web.history import iterations_of
from rsft.web.picks import chosen
from rsft.web.places import run_at

Browser = Callable[[Path], TestClient]
BOT = ("run=runs/bot", 'engine.lessons=["Now: {prompt}", "Bad"]')
OTHER = ("run=runs/other", "seed=3", 'engine.replies=["Well: {prompt}"]', "evaluation.samples=0")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, with 24 held-out prompts in common, and one that was measured on none of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        for overrides in (BOT, OTHER):
            recipe = write_recipe(*LUCKY, "loop.iterations=1", *overrides)
            write_questions(train=8, heldout=26 if overrides == OTHER else 25)
            if overrides == OTHER:
                rows = [json.loads(line) for line in Path("heldout.jsonl").read_text().splitlines()]
                rows[3]["prompt"] = "another question by the same id"
                Path("heldout.jsonl").write_text("\n".join(map(json.dumps, rows)))
            run(recipe)
        recipe = write_recipe("run=runs/alone@1", "loop.iterations=1", "selection=[words >= 2]")
        Path("heldout.jsonl").write_text(json.dumps({"id": "new", "prompt": "quite another"}))
        run(recipe)
        return Path("runs").absolute()


def policies(runs: Path, *said: str) -> list[Which]:
    return [pick.which for pick in chosen(said, lambda name: run_at(runs, name))]


@pytest.mark.parametrize("names", [("bot@0", "bot@1"), ("bot@1", "other@1"), ("bot@1:control", "other@0")])
def test_the_numbers_are_those_of_the_command(names: tuple[str, str], runs: Path) -> None:
    beside = Beside.read(policies(runs, *names))
    other = comparison.compare(*(f"{runs}/{name}" for name in names), limit=99)
    assert len(beside.common) == other["prompts"] == (25 if names[1] == "bot@1" else 24)
    gains = beside.numbers["gains"][1]
    assert gains["difference"] == other["scores"]["acceptance"]["difference"]
    for name in ("both", "only_a", "only_b", "neither", "p"):
        assert gains[name] == other["acceptance_changes"][name]
    for name, said in beside.numbers["scores"].items():
        assert said[1]["gain"] == other["scores"][name]["difference"]
        assert said[0]["mean"] == pytest.approx(other["scores"][name]["a"])
    counts = {group: len(ids) for group, ids in beside.groups.items()}
    assert counts == {
        "": other["prompts"],
        "gained": gains["only_b"],
        "lost": gains["only_a"],
        "both": gains["both"],
        "neither": gains["neither"],
    }
    assert {one["prompt_id"] for one in other["regressions"]} == set(beside.groups["lost"])
    assert {one["prompt_id"] for one in other["improvements"]} == set(beside.groups["gained"])


def test_those_that_differ_most_come_first_and_each_once(runs: Path) -> None:
    beside = Beside.read(policies(runs, "bot@0", "bot@1"))
    everyone = beside.groups[""]
    changed = len(beside.groups["gained"]) + len(beside.groups["lost"])
    assert 0 < changed < len(everyone)
    assert set(everyone[:changed]) == {*beside.groups["gained"], *beside.groups["lost"]}
    assert sorted(everyone) == sorted(beside.common) == sorted(one for of in GROUPS for one in beside.groups[of])
    pages = [beside.replies("", page) for page in (1, 2, 3)]
    assert [row["prompt_id"] for page in pages for row in page["rows"]] == everyone
    assert beside.replies("", 99)["page"] == 3
    for row in pages[0]["rows"]:
        verdicts = [reply["accepted"] for reply in row["replies"]]
        assert row["group"] == {(0, 1): "gained", (1, 0): "lost", (1, 1): "both", (0, 0): "neither"}[tuple(verdicts)]


def test_three_are_told_apart_from_the_first(runs: Path) -> None:
    beside = Beside.read(policies(runs, "bot@1", "other@0", "other@1"))
    for group in GROUPS:
        for prompt_id in beside.groups[group]:
            first, *others = (side.evaluation.greedy[prompt_id].passed for side in beside.sides)
            expected = ("both" if all(others) else "lost") if first else ("gained" if any(others) else "neither")
            assert group == expected
    assert beside.numbers["gains"][0] is None
    assert [gain["difference"]["n"] for gain in beside.numbers["gains"][1:]] == [24, 24]


def test_what_makes_it_worth_less_is_said(runs: Path) -> None:
    same = Beside.read(policies(runs, "bot@0", "bot@1")).notes(["bot", "bot"])
    assert [note.partition(":")[0] for note in same] == ["fakes took part in bot (scripted, null)"]
    two = Beside.read(policies(runs, "bot@1", "other@1")).notes(["bot", "other"])
    assert any("only the 24 held-out prompts" in note and "left out are 1, 2" in note for note in two)
    assert any("bot (scripted, null), other (scripted, null)" in note for note in two)


def test_other_scorers_and_another_template_are_said(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = ("prompts.template=Please {{ messages[-1].content }}", "scorers.polite.pattern=Well.*")
    recipe = write_recipe("loop.iterations=1", "selection=[polite >= 0]", *said, f"run={tmp_path}/runs/third")
    write_questions(train=8, heldout=5)
    run(recipe)
    beside = Beside.read([Which(runs / "bot", 1, "policy"), Which(tmp_path / "runs/third", 1, "policy")])
    notes = beside.notes(["bot", "third"])
    assert len(beside.common) == 5, "what the user had is the same"
    assert any("5 of the prompts through different templates" in note for note in notes)
    assert any("not all were scored by the same scorers" in note for note in notes)
    assert any("scorers that not all have alike: lucky, polite" in note for note in notes)
    assert set(beside.scorers) == {"long", "words"}


def test_the_recipes_differ_where_resuming_would_say_so(runs: Path) -> None:
    recipes = [saved_recipe(runs / name) for name in ("bot", "other")]
    lines = [f"{key}: {' → '.join(values)}" for key, values in differing_keys(recipes).items()]
    assert lines == recipe_differences(*recipes)
    assert {line.partition(":")[0] for line in lines} == {
        "seed",
        "engine.replies",
        "engine.lessons",
        "evaluation.samples",
    }
    assert differing_keys([recipes[0], recipes[0], recipes[1]])["seed"] == ["0", "0", "3"]


def test_the_page_shows_all_of_it(runs: Path, browser: Browser) -> None:
    client = browser(runs)
    page = client.get("/compare?run=bot@1&run=other@1&run=other@0")
    assert page.status_code == 200
    assert "On the 24 held-out prompts of all" in page.text
    assert page.text.count('class="reply ') == 30
    assert page.text.count("<circle") == 4, "the base and iteration 1 of the first run, and of its control"
    assert "engine.replies" in page.text
    links = [html.unescape(one) for one in re.findall(r'id="row-\d+" href="([^"]*)"', page.text)]
    assert len(links) == 10
    assert "What each policy replies to this prompt" in client.get(links[0]).text
    further = html.unescape(re.findall(r'data-key="n" href="([^"]*)"', page.text)[0])
    assert "11–20 of 24" in client.get(further).text
    gained = html.unescape(re.findall(r'id="show-gained"[^>]* href="([^"]*)"', page.text)[0])
    assert "show=gained" in gained
    assert 'class="mark bad">lost' not in client.get(gained).text
    none = client.get("/compare?run=bot@1&run=bot@0&show=both&page=7")
    assert none.status_code == 200


def test_one_run_is_compared_with_its_base(runs: Path) -> None:
    handed_back = json.loads((runs / "other/summary.json").read_text())["handed_back"]
    found = policies(runs, "other@1")
    assert [(one.iteration, one.arm) for one in found] == [(0, "policy"), (1, "policy")]
    if handed_back:
        assert policies(runs, "other") == found
    assert policies(runs, "bot@0") == [Which(runs / "bot", 0, "policy"), Which(runs / "bot", 1, "policy")], "the last"
    assert policies(runs, "alone@1@0", "alone@1@1")[1] == Which(runs / "alone@1", 1, "policy"), "an @ in a name"


@pytest.mark.parametrize(
    ("picks", "why"),
    [
        ([], "nothing to compare with"),
        ([""], "nothing to compare with"),
        (["bot@0", "bot@1", "bot@1:control", "other@0"], "4 are too many"),
        (["bot@7", "bot@1"], "was not measured"),
        (["bot@1:nobody", "bot@1"], "was not measured"),
        (["../bot", "bot@1"], "no run below"),
        (["../bot@1", "bot@1"], "no run below"),
        (["bot@1", "alone@1@1"], "no held-out prompt in common"),
        ([EVIL, "bot"], "no run"),
    ],
)
def test_what_cant_be_compared_is_said(picks: list[str], why: str, runs: Path, browser: Browser) -> None:
    said = browser(runs).get("/compare", params={"run": picks})
    assert said.status_code == 400
    assert why in said.text
    assert not re.search(r"<img|<svg onload", said.text)


def test_a_group_that_there_is_not_is_said(runs: Path, browser: Browser) -> None:
    said = browser(runs).get("/compare?run=bot@0&run=bot@1&show=<b>")
    assert said.status_code == 400
    assert "expected gained or lost" in said.text
    with pytest.raises(RunError):
        Beside.read(policies(runs, "bot@0", "bot@1")).replies("worst", 1)


def test_runs_and_policies_can_be_marked(runs: Path, browser: Browser) -> None:
    client = browser(runs)
    names = re.findall(r'name="run" value="([^"]*)" id="pick-', client.get("/").text)
    assert set(names) == {"bot", "other", "alone@1"}
    of_run = re.findall(r'name="run" value="([^"]*)" id="pick-', client.get("/run?run=bot").text)
    assert of_run == ["bot@0", "bot@1", "bot@1:control"]
    assert client.get("/compare", params={"run": of_run}).status_code == 200


def test_the_iterations_are_the_summarys(runs: Path) -> None:
    summary = json.loads((runs / "bot/summary.json").read_text())
    base, first = iterations_of(runs / "bot")
    (said,) = summary["iterations"]
    assert base["acceptance"] == summary["base"]["heldout_acceptance"]
    assert first["acceptance"] == said["heldout_acceptance"]
    assert first["gain_over_control"] == said["gain_over_control"]
    assert first["others"] == {"control": said["control"]["heldout_acceptance"]}
    for name in ("accepted", "candidates", "tokens", "distinct_2", "self_bleu", "vendi", "mean_words", "scores"):
        assert first[name] == said[name]
    assert first["seconds"] == pytest.approx(sum(said["seconds"].values()))


def test_what_users_and_models_wrote_is_inert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: Browser
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "<u>&\"' x"
    recipe = write_recipe("loop.iterations=1", "sampling.max_tokens=400", f"run={tmp_path}/runs/{name}")
    rows = [{"id": f"<u>{i}", "prompt": f"{EVIL} {i}"} for i in range(4)]
    Path("heldout.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run(recipe)
    client = browser(Path("runs").absolute())
    runs_page, run_page = client.get("/"), client.get("/run", params={"run": name})
    picks = [html.unescape(one) for one in re.findall(r'value="([^"]*)" id="pick-', run_page.text)]
    assert picks == [f"{name}@0", f"{name}@1", f"{name}@1:control"]
    page = client.get("/compare", params={"run": picks})
    for said in (runs_page, run_page, page):
        assert said.status_code == 200
        assert not re.search(r"<img|<u>|<svg onload|</script><svg", said.text)
    assert "{{ 7 * 7 }}" in page.text, "and it is all there"


def test_curves_begin_at_the_base() -> None:
    said = {"value": 0.5, "low": 0.25, "high": 1.0, "n": 8}
    drawn = chart_of_several([Curve("one", 0, False, {0: said, 2: said}), Curve("two", 1, True, {1: said})])
    assert [one["number"] for one in drawn["iterations"]] == ["base", 1, 2]
    first, second = drawn["curves"]
    assert [point["iteration"] for point in first["points"]] == [0, 2]
    assert first["points"][0]["x"] < second["points"][0]["x"] < first["points"][1]["x"]
    assert chart_of_several([])["empty"]
