"""How long pages of a large run take.

    python -m bench.web [--candidates 1000000]

Writes a run folder with so many candidates of one iteration (8 a prompt, 4 scorers), and 300 held-out replies of the
base and of that iteration, and asks for its pages as a browser does, in this process: the first page, for which the
columns are read, and then others, each several times. Seconds; the median and the worst.
"""

from __future__ import annotations

import argparse
import html
import re
import resource
import statistics
import tempfile
import time
from pathlib import Path

from starlette.testclient import TestClient

from bench.selection import CANDIDATES, SCORERS, write_run
from bench.workload import report, say
from rsft.store import RunFolder, ScoreRow
from rsft.types import Candidate, CandidateKey, Message, Prompt, Score
from rsft.web.app import gated

TIMES = 5
HELDOUT = 300
HERE = "http://127.0.0.1:7878"
PAGES = {
    "runs": "/",
    "overview": "/run?run=run",
    "next page": "/candidates?run=run&iteration=1&page=2",
    "last page": "/candidates?run=run&iteration=1&page=999999",
    "by decision and score": "/candidates?run=run&iteration=1&decision=accepted&scorer=facts&least=0.9",
    "by score": "/candidates?run=run&iteration=1&scorer=relevance&order=high",
    "by text": "/candidates?run=run&iteration=1&text=reply+9999",
    "a line moved": "/thresholds/effect?run=run&iteration=1&line.0=0.5&on.line.0=1",
    "a reply to label": "/label?run=run&iteration=1&scorer=facts",
    "by prompt": "/candidates?run=run&iteration=1&prompt=prompt-9999",
    "held-out replies": "/candidates?run=run&iteration=1&which=held-out:policy",
    "a held-out prompt": "/candidate?run=run&iteration=1&which=held-out:policy&id=held-7&sample=0&generator=greedy-1",
    "policies compared": "/compare?run=run@0&run=run@1",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=1_000_000)
    candidates = parser.parse_args().candidates
    with tempfile.TemporaryDirectory() as folder:
        say(f"writing {candidates:,} candidates")
        write_run(Path(folder) / "run", candidates)
        with RunFolder.open(Path(folder) / "run", write=True) as run:
            asked_about = [_prompt(f"prompt-{number}") for number in range(-(-candidates // CANDIDATES))]
            run.save_prompts(asked_about, [_prompt(f"held-{number}") for number in range(HELDOUT)])
            _measure(run)
        report(bench="web", candidates=candidates, seconds=asked(Path(folder)))


def asked(folder: Path) -> dict[str, list[float]]:
    """The median and the worst of each page's seconds; the first one's is the only one."""
    gate = gated(folder, "127.0.0.1", 7878)
    client = TestClient(gate, base_url=HERE)
    client.get(f"/?token={gate.token}")
    first, seconds = _timed(client, "/candidates?run=run&iteration=1")
    said = {"first page": [seconds]}
    one = html.unescape(re.findall(r'id="row-1" href="([^"]*)"', first)[0])
    for name, address in {**PAGES, "one candidate": one}.items():
        times = [_timed(client, address)[1] for _ in range(TIMES)]
        said[name] = [round(statistics.median(times), 3), round(max(times), 3)]
        say(f"{name}: {said[name]}")
    say(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at the peak, writing included")
    return said


def _timed(client: TestClient, address: str) -> tuple[str, float]:
    began = time.perf_counter()
    said = client.get(address)
    seconds = time.perf_counter() - began
    said.raise_for_status()
    return said.text, round(seconds, 3)


def _prompt(prompt_id: str) -> Prompt:
    turns = (Message("user", f"question of {prompt_id}"),)
    return Prompt(prompt_id, turns, turns)


def _measure(run: RunFolder) -> None:
    """Keep held-out replies of the base and of the iteration's policy, as if they had been measured."""
    for iteration in (0, 1):
        generator, policy = f"greedy-{iteration}", f"policy-{iteration}"
        run.ledger.add_generator(generator, {"policy": policy, "temperature": 0})
        keys = [CandidateKey(iteration, f"held-{number}", 0, generator) for number in range(HELDOUT)]
        replies = [Candidate(key, f"reply {place % 7}", (1, 2), "stop", None, None) for place, key in enumerate(keys)]
        scores = [
            ScoreRow(key, name, f"fingerprint of {name}", Score(float((place + iteration) % 3 > 0)))
            for place, key in enumerate(keys)
            for name in SCORERS
        ]
        run.commit(candidates=replies, scores=scores)
        note = {"of_policy": policy, "drawn_in": iteration, "replies": HELDOUT, "seconds": 0.0}
        run.finish_stage(iteration, "policy", "evaluate", note)


if __name__ == "__main__":
    main()
