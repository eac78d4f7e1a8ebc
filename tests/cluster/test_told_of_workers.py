"""What a run on a cluster says of its workers: while it goes on, in its status, and in its report."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from crews import ThreadCrew, doom, station

from command import Command
from questions import write_questions
from rsft.cluster import hire
from rsft.cluster.engine import ClusterEngine
from rsft.report.contents import contents
from rsft.report.document import Table
from rsft.report.facts import Facts

Fate = Callable[[Sequence[str]], str | None]
RECIPE = """
model: none
engine: {type: scripted, replies: ["Good: {prompt}", "Good day", "Bad: {prompt}"]}
cluster: local
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 4, max_tokens: 40}
scorers: {polite: {type: format, pattern: "Good.*"}}
selection: [polite >= 1]
training: {type: "null"}
loop: {iterations: 1}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Command) -> Callable[[Fate], str]:
    """Runs the recipe by three workers in threads, with this fate; what it said on the way."""
    monkeypatch.chdir(tmp_path)
    Path("scripted.yaml").write_text(RECIPE)
    write_questions(train=20, heldout=5)

    def by(fate: Fate) -> str:
        def hired(cluster: Any, kind: Any, options: Any, student: Any, logs: Path) -> ClusterEngine:
            return ClusterEngine(ThreadCrew(3, station(kind, **options), fate), student, logs)

        monkeypatch.setattr(hire, "hire", hired)
        said = cli("run", "scripted.yaml")
        assert said.code == 0, said.err
        return said.err

    return by


def origin(run: Path) -> dict[str, str]:
    document = contents(Facts.read(run, 3))
    (section,) = (one for one in document.sections if one.anchor == "recipe")
    table = section.blocks[0]
    assert isinstance(table, Table)
    return {row[0]: row[1] for row in table.rows}


def test_who_was_lost_is_told_everywhere(run: Callable[[Fate], str], cli: Command) -> None:
    said = run(doom(1, 3, 2))
    assert (
        len(re.findall(r"^worker-\d is gone: it was doomed$|^worker-\d on .* is gone: it was doomed$", said, re.M)) == 2
    )
    ends = [line for line in said.splitlines() if re.search(r"(sampling|evaluating): ", line)]
    assert all(re.search(r", by [1-5] workers?(, [12] workers? lost)?$", line) for line in ends), ends
    assert sum(int(lost) for line in ends for lost in re.findall(r"(\d) workers? lost", line)) == 2
    status = cli("status", "runs/scripted", "--json").json
    assert len(status["workers"]) == 5
    assert sum(one["gone"] == "it was doomed" for one in status["workers"]) == 2
    assert sum(one["candidates"] for one in status["workers"]) == status["candidates"]
    shown = cli("status", "runs/scripted").out
    assert "doomed" in shown
    assert "Workers: 5, of which 2 were lost; overtaken shares of work: " in " ".join(shown.split())
    assert re.match(
        r"5 workers on 1 host: 2 lost, \d+ shares? of work overtaken", origin(Path("runs/scripted"))["workers"]
    )


def test_of_a_run_where_all_went_well_the_report_says_nothing(run: Callable[[Fate], str], cli: Command) -> None:
    said = run(lambda _: None)
    assert re.search(r"sampling: .*, by [1-3] workers?$", said, re.M)
    assert "lost" not in said
    status = cli("status", "runs/scripted", "--json").json
    assert ({one["state"] for one in status["workers"]}, status["overtaken"]) == ({"done"}, 0)
    assert "workers" not in origin(Path("runs/scripted"))


def test_a_run_in_one_process_says_nothing_of_workers(run: Callable[[Fate], str], cli: Command) -> None:
    Path("scripted.yaml").write_text(RECIPE.replace("cluster: local\n", ""))
    assert "worker" not in run(lambda _: None)
    assert "worker" not in cli("status", "runs/scripted").out


def test_status_needs_neither_a_model_library_nor_ray(run: Callable[[Fate], str]) -> None:
    run(lambda _: None)
    script = "; ".join(
        [
            "import sys",
            "from pathlib import Path",
            "from rsft.reading import status",
            "assert status(Path('runs/scripted'))['workers']",
            "print(sorted({'torch', 'transformers', 'ray'} & set(sys.modules)))",
        ]
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
