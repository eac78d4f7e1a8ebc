"""Many machines: what Ray costs, how far it carries, and what the run's own process takes.

    python -m bench.cluster                        all parts
    python -m bench.cluster --part overhead        one of them

overhead: the engine `local` on a real model, in this process and in one worker of a Ray cluster on this machine, in
turn; `ratio_overhead` is the time with Ray over the time without, the median of the rounds' ratios.
scaling: an engine of fixed latency (nothing is computed, so that two cores can hold 64 workers), drawn through budget,
scorers and ledger as a run draws; `efficiency_N` is the rate of N workers over N times that of one.
driver: the same engine without any latency: how many candidates a second the run's process takes from workers, scores,
decides on and keeps.
simulation: up to 1,000 workers whose time is simulated. The leases are the real ones, and what they take is measured;
what else the driver does with a candidate and with a message takes as long as `driver` and `scaling` have measured.
store: `bench.store` on a run of --stored candidates.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.workload import Workload, report, say
from rsft.cluster.leases import Leases
from rsft.config import load_recipe
from rsft.config.cluster import ClusterSection, WorkersSection
from rsft.engines.base import Engine, Request, stream_seed
from rsft.engines.build import engine_kind
from rsft.loop import run
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey, Message, Prompt, SamplingParams

PARTS = ("overhead", "scaling", "driver", "simulation", "store")
ENGINE = f"{Path(__file__).with_name('patient.py')}:Patient"
ROWS, LATENCY = 16, 0.5
SIMULATED = (64, 256, 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--rounds", type=int, default=5, help="of the overhead's two arms")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=40.0, help="about so long each number of workers draws")
    parser.add_argument("--rows", type=int, default=400_000, help="candidates that the driver takes")
    parser.add_argument("--stored", type=int, default=100_000_000, help="candidates of the store")
    Workload.add_arguments(parser)
    arguments = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    found: dict[str, Any] = {}
    for part in arguments.part or PARTS:
        found |= globals()[f"measure_{part}"](arguments, found)
    report(bench="cluster", **found)


# -- overhead ---------------------------------------------------------------------------------------------------------


def measure_overhead(arguments: argparse.Namespace, _: dict[str, Any]) -> dict[str, Any]:
    from rsft.cluster.hire import hire
    from rsft.engines.local import LocalEngine
    from rsft.models.student import Student

    workload = Workload.of(arguments)
    network = workload.network()
    requests = workload.requests(workload.read(network))
    alone = LocalEngine(network)
    cluster = ClusterSection(ray="local", engine=WorkersSection(workers=1, cpus=float(os.cpu_count() or 1)))
    with tempfile.TemporaryDirectory() as logs:
        student = Student((workload.model,), workload.dtype)
        with_ray = hire(cluster, engine_kind("local"), {}, student, Path(logs))
        try:
            for engine in (alone, with_ray):
                _drawn(engine, requests[: len(requests) // 4])  # what is made at the first use
            ratios, rates = [], []
            for number in range(arguments.rounds):
                arms = (alone, with_ray) if number % 2 else (with_ray, alone)
                seconds = {id(engine): _drawn(engine, requests) for engine in arms}
                ratios.append(seconds[id(with_ray)] / seconds[id(alone)])
                rates.append(len(requests) / seconds[id(with_ray)])
                say(f"round {number + 1}: {seconds[id(alone)]:.2f} s alone, × {ratios[-1]:.3f} with Ray")
        finally:
            with_ray.close()
    ratio = statistics.median(ratios)
    return {"ratio_overhead": round(ratio, 3), "ratios": [round(one, 3) for one in ratios]}


def _drawn(engine: Engine, requests: list[Request]) -> float:
    began = time.perf_counter()
    assert sum(1 for _ in engine.sample(engine.base, requests)) == len(requests)
    return time.perf_counter() - began


# -- scaling and driver -----------------------------------------------------------------------------------------------


def measure_scaling(arguments: argparse.Namespace, _: dict[str, Any]) -> dict[str, Any]:
    rates: dict[int, float] = {}
    for workers in arguments.workers:
        candidates = int(workers * ROWS / LATENCY * arguments.seconds)
        rates[workers], _cpu = _run_of(workers, candidates, {"batch": ROWS, "seconds": LATENCY})
        say(f"{workers} workers: {rates[workers]:.0f} candidates/s of {workers * ROWS / LATENCY:.0f}")
    first = min(rates)
    found = {f"efficiency_{n}": round(rate / (n / first * rates[first]), 3) for n, rate in rates.items() if n != first}
    return {"candidates_per_second": {n: round(rate) for n, rate in rates.items()}, **found}


def measure_driver(arguments: argparse.Namespace, _: dict[str, Any]) -> dict[str, Any]:
    rate, cpu = _run_of(2, arguments.rows, {"batch": 512, "seconds": 0.0})
    return {"driver_candidates_per_second": round(rate), "driver_cpu_us_per_candidate": round(1e6 * cpu, 1)}


def _run_of(workers: int, candidates: int, engine: dict[str, Any]) -> tuple[float, float]:
    """One iteration's sampling by a run: candidates per second, and seconds of this process's CPU for each."""
    each = 32
    with tempfile.TemporaryDirectory() as here:
        recipe = load_recipe(
            one_iteration(Path(here), candidates, each),
            [
                f"engine={json.dumps({'type': ENGINE, **engine})}",
                f"cluster={json.dumps({'ray': 'local', 'engine': {'workers': workers, 'cpus': 0}})}",
            ],
        )
        meter = _Meter(candidates // each * each)
        run(recipe, meter)
        with RunFolder.open(Path(recipe.run), write=False) as folder:
            assert folder.count("candidates") == candidates // each * each
    return meter.rate, meter.cpu


def one_iteration(here: Path, candidates: int, each: int) -> str:
    """A recipe for so many candidates, so many of each prompt, all of them drawn; with its prompts."""
    prompts, file = here / "train.jsonl", here / "bench.yaml"
    rows = ({"id": f"p{n}", "prompt": f"Question {n}, as somebody asks it."} for n in range(candidates // each))
    prompts.write_text("\n".join(map(json.dumps, rows)))
    file.write_text(
        json.dumps(
            {
                "run": str(here / "run"),
                "model": "none",
                "engine": ENGINE,
                "prompts": {"train": str(prompts)},
                "sampling": {"candidates": each},
                "budget": {"stop_at_accepted": None},
                "scorers": {"brief": {"type": "length", "max_words": 40}, "one_line": "one_line"},
                "selection": ["brief >= 1", "one_line >= 1", {"cap": 4}],
                "training": {"type": "null"},
                "loop": {"iterations": 1, "control": "none"},
            }
        )
    )
    return str(file)


class _Meter:
    """Counts candidates as the run tells of them, from when half are there, by when all workers are at it, to the last.
    What is told of later stages counts for nothing."""

    def __init__(self, candidates: int) -> None:
        self._candidates = candidates
        self._count = 0
        self._first: tuple[float, float, int] | None = None
        self._last = (0.0, 0.0, 0)

    def begin(self, title: str, total: int, unit: str) -> None: ...

    def advance(self, steps: int, tokens: int = 0) -> None:
        self._count += steps
        if self._candidates // 2 <= self._count <= self._candidates:
            now = (time.perf_counter(), time.process_time(), self._count)
            self._first = self._first or now
            self._last = now

    def end(self, note: str) -> None: ...

    def say(self, line: str) -> None: ...

    @property
    def rate(self) -> float:
        assert self._first is not None
        return (self._last[2] - self._first[2]) / (self._last[0] - self._first[0])

    @property
    def cpu(self) -> float:
        assert self._first is not None
        return (self._last[1] - self._first[1]) / (self._last[2] - self._first[2])


# -- simulation -------------------------------------------------------------------------------------------------------


def measure_simulation(_: argparse.Namespace, found: dict[str, Any]) -> dict[str, Any]:
    """Workers of which each draws ROWS candidates at a time, with latencies spread around LATENCY × 10; the driver does
    one thing after the other."""
    per_candidate = found.get("driver_cpu_us_per_candidate", 50.0) * 1e-6
    said: dict[str, Any] = {}
    for workers in SIMULATED:
        simulated = _simulated(workers, per_candidate)
        said[str(workers)] = simulated
        say(f"{workers} simulated workers: {simulated}")
    return {"simulation": said, "workers_that_fill_the_driver": round(1 / per_candidate / (ROWS / (10 * LATENCY)))}


def _simulated(workers: int, per_candidate: float) -> dict[str, float]:
    chance = random.Random(0)
    latency = 10 * LATENCY
    each = 8
    prompts = [Prompt(f"p{n}", (Message("user", "?"),), ()) for n in range(workers * ROWS)]
    params = SamplingParams()
    requests = [
        Request(CandidateKey(1, p.id, i, "g"), p, stream_seed(0, 1, p.id, i), params)
        for p in prompts
        for i in range(each)
    ]
    leases = Leases(requests)
    for number in range(workers):
        leases.join(str(number), ROWS)
    waiting: dict[str, list[CandidateKey]] = {str(number): [] for number in range(workers)}
    busy: dict[str, int] = dict.fromkeys(waiting, 0)
    due: list[tuple[float, str, CandidateKey]] = []
    now, spent = 0.0, 0.0
    answered = 0

    def start(worker: str, at: float) -> None:
        while busy[worker] < ROWS and waiting[worker]:
            busy[worker] += 1
            heapq.heappush(due, (at + latency * chance.uniform(0.5, 1.5), worker, waiting[worker].pop(0)))

    while leases.owed:
        began = time.perf_counter()
        for worker, news in leases.news(now):
            gone = news.cancelled.keys
            waiting[worker] = [key for key in waiting[worker] if key not in gone]
            waiting[worker] += [one.key for one in news.requests]
            start(worker, now)
        took = time.perf_counter() - began
        ready: dict[str, list[CandidateKey]] = {}
        if due and due[0][0] > now + took:
            now = due[0][0]  # the driver waits
        else:
            now, spent = now + took, spent + took
        while due and due[0][0] <= now:
            at, worker, key = heapq.heappop(due)
            busy[worker] -= 1
            start(worker, at)
            ready.setdefault(worker, []).append(key)
        began = time.perf_counter()
        for worker, keys in ready.items():
            came = [Candidate(key, "", (), "stop", 0.0, 0.0) for key in keys]
            answered += len(leases.came(worker, came, now))
        took = time.perf_counter() - began + per_candidate * sum(map(len, ready.values()))
        now, spent = now + took, spent + took
    ideal = len(requests) / (workers * ROWS / latency)
    assert answered == len(requests)
    return {
        "efficiency": round(ideal / now, 3),
        "driver_busy": round(spent / now, 3),
        "candidates_per_second": round(len(requests) / now),
    }


# -- store ------------------------------------------------------------------------------------------------------------


def measure_store(arguments: argparse.Namespace, _: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.store", "--candidates", str(arguments.stored)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    del said["bench"]
    return {"store": said}


if __name__ == "__main__":
    main()
