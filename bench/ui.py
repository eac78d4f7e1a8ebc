"""How long the pages of a large run take: those of candidates, and what a moved line changes.

    python -m bench.ui [--candidates 1000000]

Writes a run folder with so many candidates of one iteration (8 a prompt, 4 scorers, 300 labels), starts `rsft ui` as a
process, and asks for its pages over HTTP as a browser does. Some of each kind in turn: pages by every filter and order;
each line moved, with everything that hangs on it; candidates in full, from all over the run. The last line is one JSON
object: of each kind the time under which 95% of the answers came (`page_p95_ms`, `threshold_p95_ms`,
`candidate_p95_ms`), the seconds from the start of the process to the first page of candidates, and the most memory that
the process had. What is behind them goes to stderr: the median and the worst of each kind of page, in milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import html
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np

from bench.selection import CANDIDATES, RECIPE, write_run
from bench.workload import report, say
from rsft.labelling import Frame, Labelling
from rsft.saved import saved_recipe
from rsft.selection import Pool, parse_selection
from rsft.store import RunFolder
from rsft.types import Message, Prompt

RULES: list[Any] = ["facts >= 0.5", "relevance >= 0.25", "tidy >= 1", {"top_k": {"k": 3, "by": "novelty"}}]
LABELS = 300
ROUNDS = 12
OF_RUN = {"run": "run", "iteration": 1}
WORDS = ("bike", "wheel", "order", "spoke", "help", "sorry", "refund", "parcel", "Monday", "today", "which", "please")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=1_000_000)
    candidates = parser.parse_args().candidates
    with tempfile.TemporaryDirectory() as folder:
        say(f"writing {candidates:,} candidates")
        write(Path(folder) / "run", candidates)
        report(bench="ui", candidates=candidates, **asked(Path(folder), candidates))


def write(path: Path, candidates: int) -> None:
    """The run: replies of 4 to 40 words, some cut by the length limit, decided by the rules; and labels."""
    words = np.array(WORDS)
    generator = np.random.default_rng(1)

    def drawn(places: Any) -> dict[str, Any]:
        lengths = generator.integers(4, 41, len(places))
        said = words[generator.integers(len(words), size=int(lengths.sum()))].tolist()
        ends = np.cumsum(lengths).tolist()
        texts = [
            f"reply {number}: {' '.join(said[end - length : end])}."
            for number, end, length in zip(places.tolist(), ends, lengths.tolist(), strict=True)
        ]
        finish = np.where(generator.random(len(places)) < 0.03, "length", "stop")
        return {"text": texts, "token_ids": [[7] * length for length in lengths.tolist()], "finish_reason": finish}

    def decided(columns: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
        ids, prompt_N = np.unique(columns["prompt_id"], return_inverse=True)
        numbers = prompt_N.astype(np.int32), columns["sample_index"].astype(np.int32)
        pool = Pool(ids.tolist(), *numbers, columns["finish_reason"] == "stop", scores, details=None)  # type: ignore[arg-type]
        found = parse_selection(RULES).decide(pool)
        names = np.array([*(rule.name for rule in found.rules), "accepted", "finished"])
        return {"rule": names[found.by_N], "accepted": found.accepted_N}

    write_run(path, candidates, {**RECIPE, "selection": RULES}, drawn, decided)
    with RunFolder.open(path, write=True) as run:
        run.save_prompts([_prompt(number) for number in range(-(-candidates // CANDIDATES))], [])
        labelling = Labelling(run, Frame(run, saved_recipe(path), "facts", 1), "bench", "calibration")
        labelling.say_by_rules(parse_selection(["relevance >= 0.27"]), LABELS)


def asked(folder: Path, candidates: int) -> dict[str, Any]:
    """What is reported, by the times of all that is asked for."""
    began = time.perf_counter()
    with served(folder) as (ask, process):
        ask("/candidates", OF_RUN)
        start = time.perf_counter() - began
        kinds = {"page": _pages(candidates), "threshold": _thresholds(), "candidate": _candidates(ask)}
        times = {kind: _timed(ask, pages) for kind, pages in kinds.items()}
        times["label"] = _timed(ask, {"a reply to label": [("/label", {**OF_RUN, "scorer": "facts"})] * ROUNDS})
        peak = _peak_mb(process)
    return {
        **{f"{kind}_p95_ms": _p95(times[kind]) for kind in kinds},
        "start_seconds": round(start, 2),
        "peak_mb": peak,
        "requests": {kind: len(of_kind) for kind, of_kind in times.items()},
    }


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[Any, int]]:
    """`rsft ui` as a process: what asks it for pages, and its process id. Raises RuntimeError if it does not start."""
    command = [sys.executable, "-m", "rsft", "ui", str(folder), "--port", "0", "--no-open", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            said = "".join(iter(server.stdout.readline, "}\n"))
            if not said:
                raise RuntimeError("rsft ui did not start")
            address = json.loads(said + "}")["address"]
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            opener.open(address).close()
            base = address.partition("/?")[0]

            def ask(path: str, query: Mapping[str, Any]) -> str:
                with opener.open(f"{base}{path}?{urlencode(query)}") as answer:
                    return str(answer.read().decode())

            yield ask, server.pid
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()


def _pages(candidates: int) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Pages of candidates by kind."""
    far = max(1, candidates // 25)
    wanted: dict[str, list[dict[str, Any]]] = {
        "next pages": [{"page": 2 + far * number // ROUNDS} for number in range(ROUNDS)],
        "accepted": [{"decision": "accepted", "page": 1 + number} for number in range(ROUNDS)],
        "by rule": [{"rule": rule} for rule in ("tidy >= 1", "facts >= 0.5", "finished", "top_k")],
        "by score": [
            {"scorer": name, "order": order} for name in ("facts", "relevance", "novelty") for order in ("high", "low")
        ],
        "in a range": [{"scorer": "relevance", "least": number / 20, "most": 0.9} for number in range(ROUNDS)],
        "by text": [{"text": f"reply {number * candidates // ROUNDS}"} for number in range(ROUNDS)],
        "by text, among accepted": [{"text": f"{word} refund", "decision": "accepted"} for word in WORDS[:6]],
        "by prompt": [{"prompt": f"prompt-{number * candidates // 99}"} for number in range(ROUNDS)],
    }
    return {kind: [("/candidates", {**OF_RUN, **query}) for query in queries] for kind, queries in wanted.items()}


def _thresholds() -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Each line moved from one end to the other, the further one too."""
    stand = {"line.0": 0.5, "line.1": 0.25, "line.2": 1}
    all_on = {**stand, **{f"on.{name}": 1 for name in stand}}
    moved: dict[str, list[dict[str, Any]]] = {
        f"{name} moved": [{name: round(0.02 + 0.08 * number, 2)} for number in range(ROUNDS)] for name in stand
    }
    moved["new.novelty moved"] = [{"on.new.novelty": 1, "new.novelty": number / ROUNDS} for number in range(ROUNDS)]
    moved["a line taken away"] = [{f"on.{name}": ""} for name in stand]
    pages = {
        kind: [("/thresholds/effect", {**OF_RUN, **all_on, **query}) for query in some] for kind, some in moved.items()
    }
    return {"thresholds opened": [("/thresholds", OF_RUN)] * 3, **pages}


def _candidates(ask: Any) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Single candidates, of pages from all over the run."""
    found = []
    last = int(re.findall(r"page=(\d+)", html.unescape(ask("/candidates", {**OF_RUN, "page": 10**9})))[-1]) + 1
    for number in range(40):
        page = html.unescape(ask("/candidates", {**OF_RUN, "page": 1 + number * last // 40}))
        path, _, query = re.findall(r'id="row-1" href="([^"]*)"', page)[0].partition("?")
        found.append((path, dict(parse_qsl(query))))
    return {"one candidate": found}


def _timed(ask: Any, pages: Mapping[str, list[tuple[str, dict[str, Any]]]]) -> list[float]:
    """The milliseconds of each request; each kind's are told."""
    found: list[float] = []
    for kind, requests in pages.items():
        times = []
        for path, query in requests:
            began = time.perf_counter()
            ask(path, query)
            times.append(1000 * (time.perf_counter() - began))
        say(f"{kind}: {statistics.median(times):.0f} ms, at worst {max(times):.0f}, of {len(times)}")
        found += times
    return found


def _p95(times: list[float]) -> float:
    return round(float(np.quantile(times, 0.95)), 1)


def _peak_mb(process: int) -> int | None:
    """The most memory that a process has had; None where the system does not tell."""
    file = Path(f"/proc/{process}/status")
    if not file.is_file():
        return None
    return int(re.findall(r"VmHWM:\s+(\d+) kB", file.read_text())[0]) // 1024


def _prompt(number: int) -> Prompt:
    turns = (Message("user", f"question {number}"),)
    return Prompt(f"prompt-{number}", turns, turns)


if __name__ == "__main__":
    main()
