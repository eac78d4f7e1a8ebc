"""Killed again and again, anywhere and in any stage, a run comes to what an undisturbed one comes to."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runs import acknowledged, elsewhere, in_child, killed_after, killed_at, make_recipe, outcome

from rsft import failpoints
from rsft.keeping import Keeping
from rsft.loop import run
from rsft.progress import Silent
from rsft.rescoring import rescore
from rsft.reselection import reselect
from rsft.retraining import retrain
from rsft.store import RunFolder

# Every point that such a run reaches; a test holds it against a run.
POINTS = [
    *(
        f"{kind}.{step}"
        for kind in ("candidates", "scores", "decisions")
        for step in ("written", "renamed", "committed")
    ),
    *(f"prompts.{step}" for step in ("written", "renamed", "committed")),
    *(
        f"{stage}.{step}"
        for stage in ("standardise", "tune", "sample", "select", "train", "evaluate", "guard")
        for step in ("begun", "finishing")
    ),
    *("recipe.written", "sample.drawn", "train.step", "training.written", "summary.written", "run.finishing"),
]
KILLS = 5  # in a row, at most
KILLED: Counter[str] = Counter()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Counter[str], dict[str, Any]]]:
    """How often an undisturbed run reaches each point, and what it comes to. The tests work in its folder."""
    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("killed"))
    make_recipe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Keeping.__init__.__kwdefaults__, "at_once", 24)
        patch.setitem(Keeping.__init__.__kwdefaults__, "seconds", 0.0)
        reached: Counter[str] = Counter()
        with failpoints.listening(lambda name: reached.update([name])):
            run(elsewhere("runs/whole"))
        yield reached, outcome("runs/whole")
    os.chdir(here)


class Watched:
    """A run folder whose rows are counted before and after each kill."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.before = acknowledged(folder)

    def ends(self, work: Callable[[], Any], listener: Callable[[str], None]) -> bool:
        """Whether work comes to its end under a listener that kills. What was acknowledged before is there after."""
        code = in_child(work, listener)
        assert code in (0, -signal.SIGKILL), Path("child.error").read_text()
        self.look()
        KILLED["kills"] += code != 0
        return code == 0

    def look(self) -> None:
        """Nothing acknowledged is lost."""
        now = acknowledged(self.folder)
        assert self.before <= now
        self.before = now


def test_every_point_is_known(whole: tuple[Counter[str], dict[str, Any]]) -> None:
    assert sorted(POINTS) == sorted(whole[0])


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_and_wherever_after(point: str, whole: tuple[Counter[str], dict[str, Any]]) -> None:
    reached, expected = whole
    lots = random.Random(point)
    folder = f"runs/{point}"
    recipe, watched = elsewhere(folder), Watched(folder)
    assert not watched.ends(lambda: run(recipe), killed_at(point, lots.randint(1, reached[point])))
    for _ in range(KILLS):
        listener = killed_after(lots.randint(1, 60), of_draws=lots.random() < 0.3)
        if watched.ends(lambda: run(recipe), listener):
            break
    run(recipe)
    assert outcome(folder) == expected


@pytest.mark.parametrize("seed", range(8))
def test_killed_from_outside_at_any_time(seed: int, whole: tuple[Counter[str], dict[str, Any]]) -> None:
    lots = random.Random(seed)
    folder = f"runs/outside{seed}"
    recipe, watched = elsewhere(folder), Watched(folder)
    for _ in range(KILLS):
        child = os.fork()
        if child == 0:  # pragma: no cover
            run(recipe)
            os._exit(0)
        time.sleep(lots.uniform(0, 0.4))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        watched.look()
        KILLED["kills"] += 1
    run(recipe)
    assert outcome(folder) == whole[1]


AFTERWARDS: dict[str, Callable[[str], Any]] = {
    "score": lambda folder: rescore(Path(folder), ["scorers.long.min_words=3"], Silent()),
    "train": lambda folder: retrain(Path(folder), "strict", Silent()),
}


@pytest.mark.parametrize("command", AFTERWARDS)
def test_commands_on_a_finished_run_are_killed_and_come_to_the_same(
    command: str, whole: tuple[Counter[str], dict[str, Any]]
) -> None:
    work = AFTERWARDS[command]
    undisturbed, killed = f"runs/{command}_undisturbed", f"runs/{command}_killed"
    reached: Counter[str] = Counter()
    for folder in (undisturbed, killed):
        run(elsewhere(folder))
        reselect(Path(folder), ["selection=[polite >= 1, words >= 5]"], "strict")
    with failpoints.listening(lambda name: reached.update([name])):
        work(undisturbed)
    lots, watched = random.Random(command), Watched(killed)
    for point, times in reached.items():
        if watched.ends(lambda: work(killed), killed_at(point, lots.randint(1, times))):
            break
    work(killed)
    assert outcome(killed) == outcome(undisturbed)


def test_a_named_selection_is_kept_whole_or_not_at_all(whole: tuple[Counter[str], dict[str, Any]]) -> None:
    run(elsewhere("runs/named"))
    before = outcome("runs/named")
    for number, point in enumerate(("decisions.written", "decisions.renamed", "decisions.committed")):
        name = f"strict{number}"

        def work(name: str = name) -> None:
            reselect(Path("runs/named"), ["selection=[polite >= 1, words >= 5]"], name)

        assert not Watched("runs/named").ends(work, killed_at(point, 2))
        with RunFolder.open(Path("runs/named"), write=False) as folder:
            assert (name in folder.selections()) == (point == "decisions.committed"), "both of its segments, or none"
        if point != "decisions.committed":
            work()
        with RunFolder.open(Path("runs/named"), write=False) as folder:
            assert name in folder.selections()
    assert {k: v for k, v in outcome("runs/named")["decisions"].items() if k in before["decisions"]} == before[
        "decisions"
    ]


def test_enough_of_them_were_killed() -> None:
    assert KILLED["kills"] >= 200
