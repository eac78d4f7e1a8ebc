"""A run in a process of its own, in which a worker dies, then a machine, and then, in some stage, the run itself.

python driver.py RUN ADDRESS SEED RAYLET...
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("", "trust", "cluster"))

from machines import actors
from runs import elsewhere

from rsft import failpoints
from rsft.keeping import Keeping
from rsft.loop import run

STAGES = ("tune", "sample", "select", "train", "evaluate", "guard")
CLUSTER = (
    "cluster={engine: {workers: 3, cpus: 1}, scorers: {words: {workers: 2, cpus: 1}}}",
    "cluster.ray=",
)


def on_machines(folder: str, address: str) -> list[str]:
    """Overrides that have the run work there."""
    return [CLUSTER[0], CLUSTER[1] + address]


def doomed(seed: int, raylets: list[int]) -> Callable[[str], None]:
    """Kills an actor and a machine while candidates are drawn, and this process at a stage's beginning or end."""
    lots = random.Random(seed)
    at = {"worker": lots.randint(2, 40), "machine": lots.randint(41, 90)}
    stage = STAGES[seed % len(STAGES)]
    point = f"{stage}.{lots.choice(('begun', 'finishing'))}"
    drawn = 0

    def listener(name: str) -> None:
        nonlocal drawn
        if name == "sample.drawn":
            drawn += 1
            if drawn == at["worker"]:
                os.kill(lots.choice(actors()), signal.SIGKILL)
                print("killed worker", flush=True)
            if drawn == at["machine"]:
                os.kill(lots.choice(raylets), signal.SIGKILL)
                print("killed machine", flush=True)
        elif name == point and drawn > at["machine"]:
            print("killed driver", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    return listener


if __name__ == "__main__":
    folder, address, seed, *raylets = sys.argv[1:]
    Keeping.__init__.__kwdefaults__.update(at_once=24, seconds=0.0)
    recipe = elsewhere(folder, *on_machines(folder, address))
    with failpoints.listening(doomed(int(seed), [int(pid) for pid in raylets])):
        run(recipe)
