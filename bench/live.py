"""A run's whole iteration at two sizes: does the memory of its process grow with the candidates?

    python -m bench.live [--candidates 500000 2000000] [--each 32] [--room 100000]

Draws with an engine that answers at once (bench/patient.py, in this process, without Ray), scores, keeps, decides and
hands what is accepted to the null trainer: all that a run does, but for the models. Each size is a process of its own;
`--room` is how many candidates are held while they are drawn (a run takes what an eighth of the free memory has room
for). `mb_each_million` is what peak memory grows by for each further million candidates, the prompts' own included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.cluster import ENGINE, one_iteration
from bench.workload import report, say


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, nargs=2, default=[500_000, 2_000_000])
    parser.add_argument("--each", type=int, default=32, help="candidates of each prompt")
    parser.add_argument("--room", type=int, default=100_000)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_iteration(arguments.one, arguments.each, arguments.room)))
        return
    sizes = {}
    for candidates in arguments.candidates:
        command = [sys.executable, "-m", "bench.live", "--one", str(candidates)]
        command += ["--each", str(arguments.each), "--room", str(arguments.room)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        sizes[candidates] = json.loads(done.stdout.splitlines()[-1])
        say(f"{candidates}: {sizes[candidates]}")
    small, large = (sizes[candidates] for candidates in arguments.candidates)
    millions = (arguments.candidates[1] - arguments.candidates[0]) / 1e6
    grown = (large["peak_mb"] - small["peak_mb"]) / millions
    report(bench="live", each=arguments.each, room=arguments.room, mb_each_million=round(grown, 1), sizes=sizes)


def _iteration(candidates: int, each: int, room: int) -> dict[str, Any]:
    from rsft import drawing
    from rsft.config import load_recipe
    from rsft.loop import run

    drawing.room = lambda _: room
    with tempfile.TemporaryDirectory() as here:
        recipe = load_recipe(
            one_iteration(Path(here), candidates, each), [f"engine={json.dumps({'type': ENGINE, 'batch': 512})}"]
        )
        began = time.perf_counter()
        summary = run(recipe)
        seconds = time.perf_counter() - began
    (told,) = summary["iterations"]
    assert told["candidates"] == candidates // each * each
    return {
        "seconds": {stage: told["seconds"][stage] for stage in ("sample", "select", "train")},
        "candidates_per_second": round(candidates / seconds),
        "accepted": told["accepted"],
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


if __name__ == "__main__":
    main()
