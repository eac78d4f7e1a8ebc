"""Selecting again from ten million stored scores, and promises about thresholds, kept and broken.

    python -m bench.selection [--scores 10000000] [--trials 1500] [--run RUN]

The first part writes a run folder with so many scores (of 4 scorers, 8 candidates a prompt), then has other rules
applied to it in a process of its own, as `rsft select` does: read, joined, decided, compared. The peak of its memory
counts, Python and its libraries included. The second part simulates calibrations (at most 10% bad, with 90% confidence,
500 labels): how often the lowest threshold whose observed error is under 10% breaks the promise, how often the
certified one does, and what share of the pool each accepts, beside the oracle, which knows the true errors.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.workload import report, say
from rsft.calibrating import drawn_iteration
from rsft.calibration import Certificate, certify
from rsft.labelling import Frame
from rsft.saved import changed_recipe
from rsft.store import RunFolder

SCORERS = ("facts", "relevance", "novelty", "tidy")
CANDIDATES = 8
SEGMENT = 1_000_000
RULES: list[Any] = ["facts >= 0.5", "tidy >= 1"]
RULES += [{"quantile": {"share": 0.5, "by": "relevance"}}, {"top_k": {"k": 2, "by": "novelty"}}]
RECIPE = {
    "model": "none",
    "prompts": {"train": "none.jsonl"},
    "scorers": dict.fromkeys(SCORERS, "one_line"),
    "selection": ["facts >= 1", {"cap": 3}],
}
LABELS, POOL, MAX_ERROR, CONFIDENCE = 500, 2000, 0.1, 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=int, default=10_000_000)
    parser.add_argument("--trials", type=int, default=1500)
    parser.add_argument("--run", type=Path, help="a run with the scorers facts and relevant")
    parser.add_argument("--behind", default="[tidy >= 1, own_words >= 1]", help="the rules before the threshold")
    parser.add_argument("--select", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.select:
        print(json.dumps(selected(arguments.select)))
        return
    numbers: dict[str, Any] = {"scores": arguments.scores, "candidates": arguments.scores // len(SCORERS)}
    with tempfile.TemporaryDirectory() as folder:
        say(f"writing {arguments.scores:,} scores")
        write_run(Path(folder) / "run", arguments.scores // len(SCORERS))
        say("selecting again")
        command = [sys.executable, "-m", "bench.selection", "--select", str(Path(folder) / "run")]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        numbers |= json.loads(done.stdout.splitlines()[-1])
    say(f"{numbers['seconds_10m']:.1f} s, {numbers['peak_mb']:.0f} MB")
    numbers |= promises(arguments.trials)
    if arguments.run:
        numbers["run"] = [kept_promises(arguments.run, arguments.behind, max_error) for max_error in (0.1, 0.2)]
    report(bench="selection", **numbers)


def selected(run: Path) -> dict[str, Any]:
    """Apply other rules to a run; how long it took, and the most memory that this process had."""
    from rsft.reselection import reselect

    began = time.perf_counter()
    said = reselect(run, [f"selection={json.dumps(RULES)}"])
    seconds = time.perf_counter() - began
    (part,) = said["iterations"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds_10m": round(seconds, 2),
        "peak_mb": round(peak),
        "accepted_before": part["before"]["accepted"],
        "accepted_now": part["now"]["accepted"],
    }


def drawn_plainly(places: Any) -> dict[str, Any]:
    """Short texts, all of them whole."""
    count = len(places)
    texts = [f"reply {number}" for number in places]
    return {"text": texts, "token_ids": [[1, 2]] * count, "finish_reason": np.full(count, "stop")}


def write_run(
    path: Path,
    candidates: int,
    recipe: Mapping[str, Any] = RECIPE,
    drawn: Callable[[Any], dict[str, Any]] = drawn_plainly,
    decided: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]] | None = None,
) -> None:
    """A run folder with one iteration's candidates, scores and decisions, and what else selecting again reads.

    `drawn` writes the candidates at some places; `decided` decides on some by their columns and scores (by chance, if
    there is none). Of one prompt, all are asked about at once.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from rsft.config import recipe_yaml
    from rsft.config.load import validate
    from rsft.store import rows
    from rsft.store.files import sha256
    from rsft.store.ledger import Segment
    from rsft.store.segments import GROUP_ROWS

    generator = np.random.default_rng(0)
    with RunFolder.open(path, write=True) as folder:
        full = validate({**recipe, "run": str(path)}, where="bench")
        folder.write_text("recipe.yaml", recipe_yaml(full))
        folder.note_scorers({name: f"fingerprint of {name}" for name in SCORERS}, {})
        segments: list[Segment] = []

        def write(kind: str, scope: str, columns: dict[str, Any]) -> None:
            schema = rows.schemas()[kind]
            size = len(columns["sample_index"])
            all_of = {field.name: columns.get(field.name, pa.nulls(size, field.type)) for field in schema}
            table = pa.table({name: pa.array(column).cast(schema.field(name).type) for name, column in all_of.items()})
            file = path / kind / f"{len(segments) + 1:06d}.parquet"
            file.parent.mkdir(exist_ok=True)
            pq.write_table(table, file, row_group_size=GROUP_ROWS, **rows.layout(kind))
            segments.append(Segment(str(file.relative_to(path)), kind, scope, sha256(file), size))

        for start in range(0, candidates, SEGMENT // len(SCORERS)):
            places = np.arange(start, min(candidates, start + SEGMENT // len(SCORERS)))
            count = len(places)
            key: dict[str, Any] = {
                "iteration": np.ones(count),
                "prompt_id": [f"prompt-{number}" for number in places // CANDIDATES],
                "sample_index": places % CANDIDATES,
                "generator": np.full(count, "0123456789ab"),
            }
            written = {**key, **drawn(places)}
            write("candidates", "1", written)
            by_chance = {"rule": np.full(count, "rule"), "accepted": generator.random(count) < 0.3}
            values = [generator.random(count) for _ in SCORERS]
            values[-1] = np.ceil(values[-1] - 0.1)
            by = by_chance if decided is None else decided(written, dict(zip(SCORERS, values, strict=True)))
            write("decisions", "1:policy", {**key, "selection": np.full(count, "policy"), **by})
            said = {
                "scorer": np.repeat(SCORERS, count),
                "fingerprint": np.repeat([f"fingerprint of {name}" for name in SCORERS], count),
                "value": np.concatenate(values),
            }
            write("scores", "1", {name: np.tile(column, len(SCORERS)) for name, column in key.items()} | said)
        folder.ledger.add_segments(segments)


def promises(trials: int) -> dict[str, Any]:
    """How often each way to choose a threshold breaks its promise, and the mean share of the pool that it accepts."""
    generator = np.random.default_rng(0)

    def world(count: int) -> tuple[Any, Any]:
        scores = generator.normal(size=count)
        return scores, (generator.random(count) > 1 / (1 + np.exp(-2.5 * scores - 1))).astype(np.float64)

    truth, bad = world(4_000_000)
    order = np.argsort(-truth)
    truth, errors = truth[order], np.cumsum(bad[order]) / np.arange(1, len(truth) + 1)
    oracle = (np.flatnonzero(errors <= MAX_ERROR)[-1] + 1) / len(truth)

    def judged(threshold: float) -> tuple[bool, float]:
        over = int(np.searchsorted(-truth, -threshold, side="right"))
        return bool(errors[over - 1] > MAX_ERROR), over / len(truth)

    outcomes: dict[str, list[tuple[bool, float]]] = {"naive": [], "certified": []}
    for _ in range(trials):
        scores, losses = world(LABELS)
        strict = np.argsort(-scores)
        seen = np.cumsum(losses[strict]) / np.arange(1, LABELS + 1)
        under = np.flatnonzero(seen <= MAX_ERROR)
        outcomes["naive"].append(judged(scores[strict][under[-1]]) if len(under) else (False, 0.0))
        said = certify(scores, losses, world(POOL)[0], max_error=MAX_ERROR, confidence=CONFIDENCE)
        outcomes["certified"].append(judged(said.threshold) if isinstance(said, Certificate) else (False, 0.0))
    numbers: dict[str, Any] = {"trials": trials, "oracle_coverage": round(float(oracle), 4)}
    for name, found in outcomes.items():
        numbers[f"{name}_violations"] = round(float(np.mean([broken for broken, _ in found])), 4)
        numbers[f"{name}_coverage"] = round(float(np.mean([share for _, share in found])), 4)
    numbers["refused"] = round(float(np.mean([share == 0 for _, share in outcomes["certified"]])), 4)
    numbers["allowed_violations"] = round(1 - CONFIDENCE + 3 * float(np.sqrt(0.09 / trials)), 4)
    return numbers


def kept_promises(run: Path, behind: str, max_error: float, splits: int = 500) -> dict[str, Any]:
    """On a run's last iteration, behind other rules: thresholds on embeddings' relevance that are certified from the
    labels of random halves of the prompts (is every fact stated?), and how many of all replies over them are bad."""
    recipe = changed_recipe(run, [f"selection={behind}"], "selection")
    with RunFolder.open(run, write=False) as folder:
        frame = Frame(folder, recipe, "relevant", drawn_iteration(folder))
    scores = frame.scores
    bad = (frame.values("facts") != 1).astype(np.float64)
    generator, errors, coverage = np.random.default_rng(0), [], []
    for _ in range(splits):
        half = generator.permutation(len(scores))[: len(scores) // 2]
        said = certify(scores[half], bad[half], scores, max_error=max_error, confidence=CONFIDENCE)
        if isinstance(said, Certificate):
            over = scores >= said.threshold
            errors.append(float(bad[over].mean()))
            coverage.append(float(over.mean()))
    return {
        "replies": len(scores),
        "labels": len(scores) // 2,
        "bad": round(float(bad.mean()), 4),
        "max_error": max_error,
        "certified": len(errors) / splits,
        "mean_error": round(float(np.mean(errors)), 4) if errors else None,
        "violations": sum(error > max_error for error in errors) / splits,
        "coverage": round(float(np.mean(coverage)), 4) if errors else None,
    }


if __name__ == "__main__":
    main()
