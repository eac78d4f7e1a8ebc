"""The report: what it says of a run by fakes, finished or not, and that nothing in it does anything."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

import rsft
from command import Command
from questions import write_questions
from rsft import failpoints
from rsft.errors import RunError
from rsft.loop import run
from rsft.pairing import Pairing
from rsft.pairs import Pairs
from rsft.report import svg
from rsft.report.charts import Point, over_iterations
from rsft.report.contents import contents
from rsft.report.document import Code, Document, Note, Replies, Section, Table
from rsft.report.facts import Facts
from rsft.report.render import as_html, as_markdown
from rsft.report.write import REPLIES, write_report
from rsft.seeds import run_seeds
from rsft.store import RunFolder
from rsft.text import sentences

MADE_WITH = {
    "python": "3.11.0",
    "packages": {"rsft": "0.0.0", "torch": "2.0.0"},
    "machine": "Linux x86_64, 2 cores",
    "device": "A processor",
}
GOLDEN = Path(__file__).parent / "golden.md"
RECIPE = """
model: none
engine:
  type: scripted
  replies: ["Bad: {prompt}", "Good: {prompt}", "Good and well: {prompt}", "Bad", "Good"]
  lessons: ["Good and well: {prompt}", "Good again: {prompt}", "Bad again"]
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 6, max_tokens: 40}
scorers:
  polite: {type: format, pattern: "Good.*"}
  words: mine.py:words
selection: [polite >= 1, words >= 2, no_duplicates, {cap: 2}]
training: {type: "null"}
evaluation: {samples: 4, scorers: {liked: mine.py:liked}, best_by: acceptance}
guards: {plateau: off}
loop: {iterations: 2}
"""
SCORERS = """
def words(replies):
    return [len(reply.text.split()) for reply in replies]


def liked(replies):
    return ["well" in reply.text for reply in replies]
"""
EVIL = (
    "Good <script>alert(1)</script> <svg onload=alert(2)> </p></article><img src=x onerror=alert(3)> "
    "[a](javascript:b) ![c](http://evil.example/d.png) ``` </code></pre> "
    "{{ 7 * 7 }} {% raw %} \x1b[31mred\x1b[0m \u202edesrever | <!-- -->"
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scripted.yaml").write_text(RECIPE)
    Path("mine.py").write_text(SCORERS)
    write_questions(train=12, heldout=10)


def scripted(*overrides: str) -> Path:
    """A run by fakes, finished."""
    recipe = rsft.load_recipe("scripted.yaml", *overrides)
    run(recipe)
    return Path(recipe.run)


class _CutOff(BaseException):
    """The process dies here."""


def cut_off(point: str, *overrides: str) -> Path:
    """A run that died when it reached a point."""

    def die(name: str) -> None:
        if name == point:
            raise _CutOff

    recipe = rsft.load_recipe("scripted.yaml", *overrides)
    with failpoints.listening(die), pytest.raises(_CutOff):
        run(recipe)
    return Path(recipe.run)


class _Page(HTMLParser):
    """What a page is made of."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input", "use", "path", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag, "every element ends where it should"

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def page(run_folder: Path) -> _Page:
    return _Page(Path(write_report(run_folder)["report"]).read_text(encoding="utf-8"))


def stilled(folder: Path) -> Path:
    """The run with every time that its summary tells set to 2 seconds: no clock is the same twice."""

    def still(said: Any) -> Any:
        if isinstance(said, dict):
            said = {key: still(value) for key, value in said.items()}
            if isinstance(said.get("seconds"), dict):
                said["seconds"] = dict.fromkeys(said["seconds"], 2.0)
            return said
        return [still(one) for one in said] if isinstance(said, list) else said

    file = folder / "summary.json"
    file.write_text(json.dumps(still(json.loads(file.read_text())) | {"seconds": 60.0}))
    return folder


def test_pairs_that_people_compared_are_in_it_and_no_others() -> None:
    folder = scripted('engine.lessons=["Good and well: {prompt}", "Good again: {prompt}"]')
    assert "compared" not in [tag.get("id") for tag in page(folder).all("section")]
    with RunFolder.open(folder, write=True) as opened:
        pairing = Pairing(opened, Pairs(opened, "base", "policy@1"), "ann")
        for _ in range(4):
            shown = pairing.next
            assert shown is not None
            pairing.say("left" if "well" in shown.left else "right")
        pairing.open()
        pairing.say("left")
    document = contents(Facts.read(folder, 1))
    (table,) = next(section.blocks for section in document.sections if section.anchor == "compared")
    assert isinstance(table, Table)
    assert [list(row) for row in table.rows] == [
        ["policy@1 against base", "ann", "100.0% [51, 100]", "4", "0", "0", "0", "0", "0.12"]
    ]
    assert "policy@1 against base" in page(folder).text


def test_what_it_says_is_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew it, where that is meant, by copying what this writes over the golden file."""
    monkeypatch.setattr("rsft.surroundings._surroundings", lambda: MADE_WITH)
    folder = stilled(scripted())
    text = Path(write_report(folder, markdown=True)["report"]).read_text(encoding="utf-8")
    text = text.replace(str(Path.cwd()), "/here")
    Path("golden.md").write_text(text)
    assert text == GOLDEN.read_text(encoding="utf-8"), f"see {Path('golden.md').absolute()}"


def test_the_numbers_are_the_summary_s() -> None:
    folder = scripted()
    summary = json.loads((folder / "summary.json").read_text())
    said = write_report(folder, markdown=True)
    text = Path(said["report"]).read_text(encoding="utf-8")
    for part in (summary["base"], *summary["iterations"]):
        assert f"{part['heldout_acceptance']['value']:.1%} [" in text
        assert f"{part['heldout_scores']['liked']['value']:.3f} [" in text
    assert f"{summary['gain_over_control']['value']:+.1%} [" in said["story"][1]
    accepted = sum(part["accepted"] for part in summary["iterations"])
    assert f"accepted {accepted}" in said["story"][0]
    for part in summary["iterations"]:
        assert part["policy"]["hash"] in text
    assert summary["base_policy"] in text


def test_habits_that_grow_are_told() -> None:
    summary = json.loads((scripted() / "summary.json").read_text())
    (phrase,) = summary["habits"]
    assert phrase == "good again: question"
    assert summary["habits"][phrase][0] == 0
    story = write_report(Path("runs/scripted"))["story"]
    assert f"'{phrase}' (from 0% of the prompts to {summary['habits'][phrase][-1]:.0%})" in story[2]


def test_the_story_is_three_sentences_and_says_that_fakes_took_part() -> None:
    story = write_report(scripted())["story"]
    assert len(story) == 3
    assert len(sentences(" ".join(story))) == 3
    assert "fakes took part (scripted, null)" in story[2]


def test_an_uncertain_gain_is_called_that_and_a_loss_a_loss() -> None:
    folder = scripted()
    summary = json.loads((folder / "summary.json").read_text())
    for low, high, words in ((-0.1, 0.4, "not established"), (-0.4, -0.1, "which is a loss"), (0.1, 0.4, "")):
        summary["gain_over_base"] = {"value": (low + high) / 2, "low": low, "high": high, "n": 10}
        summary["gain_over_control"] = None
        (folder / "summary.json").write_text(json.dumps(summary))
        came_of_it = write_report(folder)["story"][1]
        assert words in came_of_it
        assert ("not established" in came_of_it, "loss" in came_of_it) == ("not" in words, "loss" in words)
        assert "without a control" in came_of_it


def test_distance_and_money_are_told_where_they_are_known() -> None:
    folder = scripted()
    summary = json.loads((folder / "summary.json").read_text())
    before = write_report(folder)["report"]
    assert "Against the distance" not in Path(before).read_text(), "these fakes know no distance"
    for kl, part in zip((4.0, 9.0), summary["iterations"], strict=True):
        part["kl_from_base"] = {"value": kl, "low": kl, "high": kl, "n": 10}
    summary["base"]["kl_from_base"] = {"value": 0.0, "low": 0.0, "high": 0.0, "n": 10}
    summary["spent"] = {"judge at somewhere": {"requests": 3, "read": 1234, "written": 56, "cost": 1.5}}
    (folder / "summary.json").write_text(json.dumps(summary))
    text = " ".join("".join(page(folder).text).split())
    assert "Acceptance, the proxy: base at 0.00: 0%, 1 at 2.00: 100%, 2 at 3.00: 100%" in text
    assert "liked (held out): base at 0.00: 0, 1 at 2.00: 1," in text
    rows = Path(write_report(folder, markdown=True)["report"]).read_text()
    assert "| judge at somewhere | 3 | 1,234 | 56 | 1.50 |" in rows


def test_a_guard_that_stopped_the_run_and_a_base_that_is_best_are_told() -> None:
    stopped = scripted("run=runs/stopped", "guards.few_accepted={least: 1000, act: stop}")
    said = write_report(stopped)
    assert said["state"] == "stopped: few_accepted"
    assert "the guard 'few_accepted' stopped the run in iteration 1" in said["story"][2]
    assert "What the guards found" in "".join(page(stopped).text)
    summary = json.loads((stopped / "summary.json").read_text())
    (stopped / "summary.json").write_text(json.dumps(summary | {"handed_back": 0}))
    assert "no iteration is better than the base" in write_report(stopped)["story"][2]


@pytest.mark.parametrize(
    "point", ["prompts.written", "sample.finishing", "select.finishing", "train.finishing", "evaluate.finishing"]
)
def test_an_unfinished_run_says_so(point: str) -> None:
    folder = cut_off(point) if point != "prompts.written" else cut_off("sample.drawn", "prompts.heldout=null")
    said = write_report(folder, cards=True)
    assert said["state"] == "interrupted"
    assert "The run is not finished (interrupted)" in said["story"][0]
    assert len(sentences(" ".join(said["story"]))) <= 3
    assert "recipe.yaml" in "".join(page(folder).text)
    assert "The run is not finished" in (folder / "MODEL_CARD.md").read_text()


def test_without_held_out_prompts_and_without_a_control() -> None:
    folder = scripted("run=runs/bare", "prompts.heldout=null", "loop.control=none")
    said = write_report(folder, cards=True)
    assert "Nothing is held out" in said["story"][1]
    assert "not measured on held-out prompts" in (folder / "MODEL_CARD.md").read_text()
    alone = write_report(scripted("run=runs/alone", "loop.control=none"))
    assert "without a control beside it" in alone["story"][1]


def test_several_seeds_are_refused_with_one_s_name(cli: Command) -> None:
    run_seeds(rsft.load_recipe("scripted.yaml", "run=runs/group"), 2)
    with pytest.raises(RunError, match=r"several seeds.*seed_0"):
        write_report(Path("runs/group"))
    assert cli("report", "runs/group/seed_1").code == 0
    assert cli("report", "runs/none").code == 2


def test_replies_near_the_line_come_first() -> None:
    folder = scripted("budget.early_rejection=false", "loop.iterations=1")  # so that all have scores, on one scale
    with RunFolder.open(folder, write=False) as opened:
        decided = opened.decisions("policy")
    text = Path(write_report(folder, markdown=True)["report"]).read_text()
    accepted, rejected = text.index("### Accepted: "), text.index("### Rejected: ")
    count = sum(one.accepted for one in decided.values())
    assert f"### Accepted: {min(REPLIES, count)}\n" in text
    margins = [float(said) for said in re.findall(r"^([\d.]+) over the line of words", text[accepted:rejected], re.M)]
    assert len(margins) > 1
    assert margins == sorted(margins)
    heads = re.findall(r"^#### rejected by ([\w ]+\w)", text[rejected:], re.M)
    by_line = [not head.startswith(("no_duplicates", "cap", "finished")) for head in heads]
    assert any(by_line), "some were rejected by a threshold"
    assert by_line == sorted(by_line, reverse=True), "what no threshold rejected comes last"


@pytest.fixture
def evil() -> Path:
    """A run whose replies, prompts, ids and explanations are what nobody wants to see run."""
    rows = [{"id": f"<b>train{i}</b>|{EVIL}", "prompt": f"{EVIL} {i}"} for i in range(4)]
    Path("train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    Path("mine.py").write_text(
        "from rsft import Score\n\n"
        "def words(replies):\n    return [Score(len(r.text.split()), r.text) for r in replies]\n\n"
        "def liked(replies):\n    return [None if 'Bad' in r.text else True for r in replies]\n"
    )
    replies = [EVIL, EVIL + " Good", "Bad " + EVIL, "Good " + "x" * 20_000]
    return scripted(
        "run=runs/evil",
        f"engine.replies={json.dumps(replies)}",
        f"engine.lessons={json.dumps(replies)}",
        "sampling.max_tokens=30000",
        "selection=[polite >= 1, words >= 21]",
        "scoring.max_failed=1",
        "loop.iterations=1",
        "loop.control=none",
        "budget.early_rejection=false",  # no rule reads a long reply anew after each of its letters
    )


def test_what_others_wrote_is_inert_in_the_page(evil: Path) -> None:
    written = write_report(evil, cards=True)
    text = Path(written["report"]).read_text(encoding="utf-8")
    found = _Page(text)
    assert not found.open
    tags = {tag for tag, _ in found.tags}
    assert not tags & {"script", "img", "iframe", "object", "embed", "form", "base", "link", "b", "i"} - {"b"}
    assert not [attrs for _, attrs in found.tags if any(name.startswith("on") for name in attrs)]
    shown = "".join(found.text)
    assert "<script>alert(1)</script>" in shown, "it is shown as it is"
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[31mred" in shown
    assert "{{ 7 * 7 }}" in shown
    assert "20,005 characters in all" in shown
    assert "x" * 3_000 not in text, "what is long is cut"


def test_what_others_wrote_is_inert_in_markdown(evil: Path) -> None:
    said = write_report(evil, markdown=True, cards=True)
    for file in (said["report"], *said["cards"]):
        text = Path(file).read_text(encoding="utf-8")
        assert "\x1b" not in text
        assert "\u202e" not in text
        text = text.removeprefix("---\n").split("---\n\n#")[-1]
        outside = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", text, flags=re.M | re.S)
        assert "javascript" in text or file != said["report"]
        assert not re.search(r"(?<!\\)<", outside), "no HTML outside blocks of code"
        assert not re.search(r"(?<!\\)\]\(", outside), "no link"
        assert "http://" not in outside
        for line in outside.splitlines():
            if line.startswith("|"):
                assert line.endswith("|")
    cells = [line for line in Path(said["report"]).read_text().splitlines() if line.startswith("| ---")]
    assert cells


def test_a_line_of_a_megabyte_is_cut() -> None:
    long = "`" * 500_000 + "<b>" * 170_000
    reply = {
        "iteration": 1, "prompt_id": long, "sample_index": 0, "accepted": False, "rule": "a >= 1", "explanation": long,
        "asked": long, "reply": long, "scores": {"a": {"failed": long}}, "line": None,
    }  # fmt: skip
    blocks = [Replies("Rejected", [reply]), Table("t", ("a",), [[long]]), Note(long), Code("recipe.yaml", long)]
    document = Document("run", "finished", ["Well."], [], [Section("all", "All", blocks)])
    assert len(as_html(document)) < 40_000
    assert len(as_markdown(document)) < 40_000


def test_it_asks_nobody_for_anything() -> None:
    folder = scripted()
    text = Path(write_report(folder)["report"]).read_text(encoding="utf-8")
    found = _Page(text)
    for _, attrs in found.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert (attrs.get(name) or "#").startswith("#"), attrs
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)
    policy = next(attrs["content"] for attrs in found.all("meta") if attrs.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_the_page_is_whole_and_can_be_read_by_everybody() -> None:
    found = page(scripted())
    assert not found.open
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids)), "no id twice"
    for attrs in found.all("a"):
        assert (attrs["href"] or "").removeprefix("#") in ids
    references = [attrs.get("href") or attrs.get("xlink:href") or "" for attrs in found.all("use")]
    assert references
    assert all(one.removeprefix("#") in ids for one in references)
    pictures = found.all("svg")
    assert len(pictures) >= 6
    assert all(
        attrs["role"] == "img" and attrs["aria-labelledby"] in ids and attrs["aria-describedby"] in ids
        for attrs in pictures
    )
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels)), "no level is left out"
    assert all(attrs.get("scope") in ("col", "row") for attrs in found.all("th"))
    assert found.all("html")[0]["lang"] == "en"


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_contrast_is_enough_in_light_and_dark() -> None:
    css = (Path(svg.__file__).parent / "templates/report.css").read_text()
    for theme in re.findall(r":root \{(.*?)\}", css, flags=re.S):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", theme))
        for name in ("ink", "muted", "link", "good", "bad"):
            assert min(contrast(colours[name], colours[ground]) for ground in ("page", "card")) >= 4.5, name
        assert contrast(colours["warn-ink"], colours["warn"]) >= 4.5
        for number in range(1, len(svg.SERIES) + 1):
            assert contrast(colours[f"s{number}"], colours["page"]) >= 3, "a picture's lines"


def test_a_picture_has_the_page_s_colours_and_is_the_same_twice() -> None:
    line = {"policy": [Point(0, 0.5, 0.4, 0.6), Point(1, 0.75)]}
    one, other = (over_iterations("a", "A <title>", ["base", "1"], line, share=True) for _ in range(2))
    assert one.svg == other.svg
    assert "var(--s1)" in one.svg
    assert "currentColor" in one.svg or "var(--muted)" in one.svg
    assert not re.search(r"#[0-9a-f]{6}", one.svg), "no colour of its own"
    assert '<title id="plot-a-title">A &lt;title&gt;</title>' in one.svg
    assert "50% at base" in one.svg


def test_the_cards_are_in_the_hub_s_format() -> None:
    folder = scripted("model=[an-owner/a-model, package:none]")
    write_report(folder, cards=True)
    headers = []
    for name in ("MODEL_CARD.md", "DATASET_CARD.md"):
        text = (folder / name).read_text()
        _, header, body = text.split("---\n", 2)
        headers.append(yaml.safe_load(header))
        assert "polite >= 1" in body
        assert str(Path.cwd()) not in text, "no path of this disk"
        assert "Fakes took part" in body
    model, dataset = headers
    assert model["base_model"] == "an-owner/a-model"
    assert "license" not in model
    assert "model-index" not in model, "numbers by fakes are no metrics"
    assert dataset["size_categories"] == ["n<1K"]
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"fakes": [], "handed_back": 1}))
    write_report(folder, cards=True)
    (result,) = yaml.safe_load((folder / "MODEL_CARD.md").read_text().split("---\n")[1])["model-index"][0]["results"]
    first = summary["iterations"][0]
    values = {one["type"]: one["value"] for one in result["metrics"]}
    assert values["acceptance"] == round(first["heldout_acceptance"]["value"], 4)


def test_the_command(cli: Command) -> None:
    folder = scripted()
    before = {file: file.read_bytes() for file in folder.rglob("*.parquet")}
    said = cli("report", str(folder))
    assert said.code == 0
    assert "fakes took part" in " ".join(said.out.split())
    assert str(folder.relative_to(Path.cwd()) / "report.html") in said.out
    told = cli("report", str(folder), "--markdown", "--output", "elsewhere/here.md", "--cards", "--json").json
    assert told["report"] == "elsewhere/here.md"
    assert Path("elsewhere/DATASET_CARD.md").is_file()
    assert len(told["story"]) == 3
    assert not (folder / "report.md").exists()
    assert {file: file.read_bytes() for file in folder.rglob("*.parquet")} == before


def test_it_loads_no_model_library() -> None:
    folder = scripted()
    program = (
        "import sys\nfrom rsft.cli import main\n"
        f"sys.argv = ['rsft', 'report', {str(folder)!r}, '--cards']\n"
        "main()\n"
        "heavy = {'torch', 'transformers', 'peft', 'trl', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
