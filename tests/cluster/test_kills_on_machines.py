"""Workers, machines and the run itself are killed in every stage: what is left in the end is what an undisturbed run
without any cluster leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from driver import on_machines
from machines import Machines, nobody_is_left

sys.path.insert(0, str(Path(__file__).parents[1] / "trust"))

from runs import acknowledged, elsewhere, make_recipe, outcome

from rsft.loop import run

# Other tests' workers would be taken for those of these.
pytestmark = pytest.mark.alone

DRIVER = Path(__file__).with_name("driver.py")
KILLED: Counter[str] = Counter()
SEEDS = range(10)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What an undisturbed run without a cluster comes to. The tests work in its folder."""
    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("machines"))
    make_recipe()
    run(elsewhere("runs/whole"))
    yield outcome("runs/whole")
    os.chdir(here)


def test_undisturbed_it_comes_to_the_same_as_without_a_cluster(whole: dict[str, Any], three: Machines) -> None:
    run(elsewhere("runs/undisturbed", *on_machines("undisturbed", three.address)))
    assert outcome("runs/undisturbed") == whole
    assert nobody_is_left()


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_anywhere(seed: int, whole: dict[str, Any], three: Machines) -> None:
    folder = f"runs/{seed}"
    words = [sys.executable, str(DRIVER), folder, three.address, str(seed), *map(str, three.raylets())]
    died = subprocess.run(words, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    KILLED.update(line for line in died.stdout.splitlines() if line.startswith("killed"))
    assert nobody_is_left(), "those who worked for the dead driver go by themselves"
    before = acknowledged(folder)
    three.mend()
    run(elsewhere(folder, *on_machines(folder, three.address)))
    assert before <= acknowledged(folder)
    assert outcome(folder) == whole


LONELY = """
import sys
sys.path[:0] = {paths!r}
import psutil
from driver import on_machines
from rsft import failpoints
from rsft.errors import RunError
from rsft.loop import run
from runs import elsewhere

def end_of_ray(name):
    if name == "sample.drawn":
        for child in psutil.Process().children():
            if child.name() == "raylet":
                child.kill()
                print("killed the raylet", flush=True)

wanted = [*on_machines("runs/lonely", "local"), "cluster.engine.workers=1", "cluster.scorers.words.workers=1"]
with failpoints.listening(end_of_ray if sys.argv[1] == "dies" else lambda name: None):
    try:
        run(elsewhere("runs/lonely", *wanted))
    except RunError as error:
        print(error)
"""


def test_where_this_machine_itself_is_dead_for_ray_the_run_ends_and_goes_on(whole: dict[str, Any]) -> None:
    program = LONELY.format(paths=[str(DRIVER.parent), str(DRIVER.parents[1] / "trust"), str(DRIVER.parents[1])])
    program_in = partial(subprocess.run, capture_output=True, text=True, check=True, timeout=120)
    said = program_in([sys.executable, "-c", program, "dies"]).stdout
    assert "killed the raylet" in said
    assert "not part of its Ray cluster any more" in said
    assert nobody_is_left()
    before = acknowledged("runs/lonely")
    assert program_in([sys.executable, "-c", program, "lives"]).stdout == ""
    assert before <= acknowledged("runs/lonely")
    assert outcome("runs/lonely") == whole


def test_it_was_killed_often_enough() -> None:
    if len(KILLED) == 0:
        pytest.skip("the kills were not asked for")
    assert {"killed worker": len(SEEDS), "killed machine": len(SEEDS), "killed driver": len(SEEDS)} == KILLED
