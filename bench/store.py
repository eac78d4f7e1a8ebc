"""A run folder with ten or a hundred million candidates: written, resumed, decided, selected again, shown, reported.

    python -m bench.store [--candidates 10000000] [--each 32] [--columns]

Writes a run of one iteration (so many candidates of each prompt, three scorers' words on each) as the loop writes it,
noun by noun through `RunFolder.commit`, as many at a time as a quick engine has committed; then has it read as the
commands and the page read it. Every step is a process of its own, whose greatest memory counts, Python and its
libraries included.

Noun by noun, a hundred million would take an hour or more to write. With more than `LARGE` candidates (or `--columns`)
the same rows are written column by column instead (bench/columns.py), as segments through the same ledger. The steps
that measure writing and resuming are then left out: they are those of ten million.

Replies are walks over the bundled conversations, word by word: after each word comes one of those that follow it there,
by chance. So they hold the data's words, names and numbers, but hardly two are alike. They are 16 to 26 words, some 25
tokens, long; token ids are made up, the same for the same word. Log-probabilities and relevance are random numbers.
`rows_per_second_in` counts candidates and scores over the time within `RunFolder`; making the nouns is timed apart.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from bench.workload import report, say
from rsft.config import recipe_yaml
from rsft.config.load import validate
from rsft.store import RunFolder, ScoreRow
from rsft.types import Candidate, CandidateKey, Message, Prompt, Score

SCORERS = {"facts": "5f3c0e9ab121", "relevance": "77ab10c2de55", "tidy": "c0ffee12ab90"}
GENERATOR = "0123456789ab"
FACTS = ("price", "opening time", "order number", "carrier", "frame size", "rental start", "exchange code", "route")
RULES: list[Any] = ["facts >= 1", "tidy >= 1", "relevance >= 0.35", {"top_k": {"k": 3, "by": "relevance"}}]
OTHER_RULES: list[Any] = ["facts >= 0.6", "tidy >= 1", {"quantile": {"share": 0.5, "by": "relevance"}}, {"cap": 4}]
AT_ONCE = 8192
"""As `Keeping` commits them."""
SHORT, LONG = 16, 26
LARGE = 20_000_000
"""More candidates than these are written column by column."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=10_000_000)
    parser.add_argument("--each", type=int, default=32, help="candidates of each prompt")
    parser.add_argument("--columns", action="store_true", help="write column by column, however few")
    parser.add_argument("--folder", type=Path, help="where the run is to lie, in a folder that is removed afterwards")
    parser.add_argument("--step", choices=[*STEPS, *IN_COLUMNS], help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        said = (STEPS | IN_COLUMNS)[arguments.step](Case(arguments.run, arguments.candidates, arguments.each))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**said, "peak_mb": round(peak)}))
        return
    steps = IN_COLUMNS if arguments.columns or arguments.candidates > LARGE else STEPS
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        say(f"{shutil.disk_usage(folder).free / 1e9:.0f} GB are free in {folder}")
        done = {step: _in_process(step, Path(folder) / "run", arguments) for step in steps}
    report(bench="store", candidates=arguments.candidates, each=arguments.each, **_summary(done), steps=done)


def _in_process(step: str, run: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.store", "--step", step, "--run", str(run)]
    command += ["--candidates", str(arguments.candidates), "--each", str(arguments.each)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    say(f"{step}: " + ", ".join(f"{name} {value}" for name, value in said.items()))
    return said


def _summary(done: dict[str, dict[str, Any]]) -> dict[str, Any]:
    reading = [step for step in done if step not in ("write", "write half", "write the rest")]
    halves = [done[step] for step in ("write half", "write the rest") if step in done]
    writing = {}
    if halves:
        rate = sum(half["rows"] for half in halves) / sum(half["seconds_in"] for half in halves)
        writing = {"rows_per_second_in": round(rate), "seconds_to_resume": done["resume"]["seconds"]}
    return {
        **writing,
        **{f"seconds_{step.replace(' ', '_')}": done[step]["seconds"] for step in reading if "seconds" in done[step]},
        "bytes_per_candidate": done["measure"]["bytes_per_candidate"],
        "peak_mb": max(step["peak_mb"] for step in done.values()),
        "peak_mb_reading": max(done[step]["peak_mb"] for step in reading),
    }


@dataclass(frozen=True, slots=True)
class Case:
    """What the steps work on: a run folder, and how many candidates there are to be in all, and of each prompt."""

    run: Path
    candidates: int
    each: int

    @property
    def first(self) -> range:
        """The places of the candidates that are there before the run is resumed."""
        return range(self.candidates // 2)

    @property
    def next(self) -> range:
        """Those that are committed first when it is."""
        return range(self.first.stop, self.first.stop + min(AT_ONCE, self.candidates // 4))

    @property
    def rest(self) -> range:
        return range(self.next.stop, self.candidates)


# -- steps ------------------------------------------------------------------------------------------------------------


def write_half(case: Case) -> dict[str, Any]:
    """The first half of the iteration, in a folder with its prompts and all else that a run notes."""
    with RunFolder.open(case.run, write=True) as folder:
        _begin(folder, case)
        return _write(folder, case.first, case.each)


def _begin(folder: RunFolder, case: Case) -> None:
    recipe = {
        "run": str(case.run),
        "model": "none",
        "prompts": {"train": "none.jsonl"},
        "sampling": {"candidates": case.each},
        "scorers": dict.fromkeys(SCORERS, "one_line"),
        "selection": RULES,
    }
    folder.write_text("recipe.yaml", recipe_yaml(validate(recipe, where="bench")))
    folder.save_prompts(_prompts(case.candidates // case.each), [])
    folder.note_scorers(SCORERS, {})
    folder.begin_stage(1, "policy", "sample")


def write(case: Case) -> dict[str, Any]:
    """All of the iteration, column by column."""
    from bench.columns import Columns

    began = time.perf_counter()
    with RunFolder.open(case.run, write=True) as folder:
        _begin(folder, case)
        Columns(Talk(0), case.candidates, case.each).write(folder)
        folder.finish_stage(1, "policy", "sample", {"generators": [GENERATOR]})
        return {"seconds": round(time.perf_counter() - began, 2), "segments": len(folder.ledger.segments())}


def resume(case: Case) -> dict[str, Any]:
    """Open the folder for writing, find which prompts were begun, and commit the first of what is owed: from then on a
    run goes on."""
    began = time.perf_counter()
    with RunFolder.open(case.run, write=True) as folder:
        opened = time.perf_counter()
        begun = folder.begun_prompts(1, [GENERATOR])
        found = time.perf_counter()
        said = _write(folder, case.next, case.each)
        ended = time.perf_counter()
    assert len(begun) == -(-len(case.first) // case.each)
    return {
        "seconds": round(ended - began - said["seconds_making"], 2),
        "seconds_to_open": round(opened - began, 2),
        "seconds_to_find": round(found - opened, 2),
        "begun": len(begun),
    }


def write_rest(case: Case) -> dict[str, Any]:
    """The rest of the iteration."""
    with RunFolder.open(case.run, write=True) as folder:
        said = _write(folder, case.rest, case.each)
        folder.finish_stage(1, "policy", "sample", {"generators": [GENERATOR]})
        return said | {"segments": len(folder.ledger.segments())}


def decide(case: Case) -> dict[str, Any]:
    """The decisions of the recipe's own rules, each with its reason, kept as the run's, as in its stage `select`."""
    from rsft.choosing import choose
    from rsft.drawn import Sampled
    from rsft.selection import parse_selection

    began = time.perf_counter()
    with RunFolder.open(case.run, write=True) as folder:
        opened = time.perf_counter()
        sampled = Sampled(1, dict.fromkeys(folder.prompt_ids("train"), case.each), [GENERATOR])
        choice = choose(folder, "policy", sampled, SCORERS, lambda: parse_selection(RULES))
        numbers = choice.numbers | choice.lists_of_prompts(case.each) | choice.lengths()
    return {
        "seconds": round(time.perf_counter() - opened, 2),
        "seconds_to_open": round(opened - began, 2),
        "decisions": numbers["candidates"],
        "accepted": numbers["accepted"],
    }


def select(case: Case) -> dict[str, Any]:
    """Other rules, as `rsft select` applies them."""
    from rsft.reselection import reselect

    (part,), seconds = _timed(lambda: reselect(case.run, [f"selection={json.dumps(OTHER_RULES)}"])["iterations"])
    assert part["candidates"] == case.candidates
    return {"seconds": seconds, "accepted": part["now"]["accepted"]}


def show(case: Case) -> dict[str, Any]:
    """The slowest of what `rsft show` is asked for: accepted ones, those of a rule, those of one prompt."""
    from rsft.reading import Filter, decided_candidates

    wanted = {"accepted": Filter(accepted=True), "rule": Filter(rule=RULES[2]), "prompt": Filter(prompt_id=_id(7))}
    seconds = {}
    for name, one in wanted.items():
        shown, seconds[name] = _timed(lambda one=one: decided_candidates(case.run, one))
        assert len(shown) == 10
    return {"seconds": max(seconds.values()), **{f"seconds_{name}": of for name, of in seconds.items()}}


def show_prompts(case: Case) -> dict[str, Any]:
    """How every prompt fared, as `rsft show --prompts` has it."""
    from rsft.reading import prompts_of

    fared, seconds = _timed(lambda: prompts_of(case.run, None, 10))
    assert fared.rows[0]["candidates"] == case.each
    return {"seconds": seconds, "prompts": fared.prompts}


def status_of(case: Case) -> dict[str, Any]:
    from rsft.reading import status

    said, seconds = _timed(lambda: status(case.run))
    assert said["candidates"] == case.candidates
    return {"seconds": seconds}


def report_of(case: Case) -> dict[str, Any]:
    """The whole report, as `rsft report` writes it; and of that the counts and histograms alone."""
    from rsft.distributions import distributions
    from rsft.report.write import write_report

    (part,), counts = _timed(lambda: distributions(case.run))
    assert sum(part["scores"]["relevance"]["counts"]) == part["candidates"] == case.candidates
    said, seconds = _timed(lambda: write_report(case.run))
    assert Path(said["report"]).stat().st_size > 0
    return {"seconds": seconds, "seconds_counts": counts, "accepted": part["accepted"]}


def calibrate_of(case: Case) -> dict[str, Any]:
    """A threshold on relevance, by 300 labels of a random draw."""
    from rsft.calibrating import calibrate
    from rsft.labelling import Frame, Labelling
    from rsft.saved import saved_recipe
    from rsft.selection import parse_selection

    with RunFolder.open(case.run, write=True, repair=False) as folder:
        frame, drawing = _timed(lambda: Frame(folder, saved_recipe(case.run), "relevance", 1))
        Labelling(folder, frame, "facts >= 1", "calibration").say_by_rules(parse_selection(["relevance >= 0.3"]), 300)
    said, seconds = _timed(lambda: calibrate(case.run, "relevance"))
    assert said["labels"] == 300
    return {"seconds": seconds, "seconds_to_draw": drawing, "pool": said["pool"]}


def page_of(case: Case) -> dict[str, Any]:
    """What the page reads: a list of candidates, a filtered one, one by score, one that is searched for, a reply in
    full, and lines that are moved."""
    from rsft.types import CandidateKey
    from rsft.web.books import Candidates
    from rsft.web.browse import Wanted, in_full, listed
    from rsft.web.thresholds import effect, moved_rules, own_rules

    asked = {
        "list": {"page": str(max(1, case.candidates // 50))},
        "filter": {"decision": "accepted", "scorer": "relevance", "least": "0.9", "page": "3"},
        "by_score": {"scorer": "relevance", "order": "high", "page": "5"},
        "search": {"text": "opening"},
    }
    seconds = {}
    with RunFolder.open(case.run, write=False) as folder:
        book, seconds["open"] = _timed(lambda: Candidates(folder, 1))
        for name, said in asked.items():
            wanted = Wanted.of({"iteration": "1", **said})
            shown, seconds[name] = _timed(lambda wanted=wanted: listed(book, wanted))
            assert len(shown["rows"]) == 25
        key = CandidateKey(1, _id(9), 1, GENERATOR)
        _, seconds["reply"] = _timed(lambda: in_full(book, Wanted.of({"iteration": "1"}), key))
        rules = moved_rules(own_rules(case.run, 1), list(SCORERS), {"line.2": "0.5", "on.line.2": "1"})
        for name in ("lines", "lines_again"):
            _, seconds[name] = _timed(lambda: effect(book, case.run, "run", rules))
    return {"seconds": max(seconds.values()), **{f"seconds_{name}": of for name, of in seconds.items()}}


def measure(case: Case) -> dict[str, Any]:
    """What it takes on the disk."""
    sizes = {
        kind.name: sum(file.stat().st_size for file in kind.iterdir()) for kind in case.run.iterdir() if kind.is_dir()
    }
    return {
        "bytes_per_candidate": round(
            sum(size for kind, size in sizes.items() if kind != "prompts") / case.candidates, 1
        ),
        **{kind: round(size / case.candidates, 1) for kind, size in sizes.items()},
    }


STEPS: dict[str, Callable[[Case], dict[str, Any]]] = {
    "write half": write_half,
    "resume": resume,
    "write the rest": write_rest,
    "decide": decide,
    "select": select,
    "show": show,
    "show prompts": show_prompts,
    "status": status_of,
    "report": report_of,
    "calibrate": calibrate_of,
    "page": page_of,
    "measure": measure,
}
_NOUNS = ("write half", "resume", "write the rest")
IN_COLUMNS = {"write": write} | {step: work for step, work in STEPS.items() if step not in _NOUNS}


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    said = work()
    return said, round(time.perf_counter() - began, 2)


def _write(folder: RunFolder, places: range, each: int) -> dict[str, Any]:
    """Commit the candidates of these places of the iteration, some at a time, with their scores."""
    talk, began, inside = Talk(places.start), time.perf_counter(), 0.0
    for start in range(places.start, places.stop, AT_ONCE):
        some = range(start, min(start + AT_ONCE, places.stop))
        candidates, scores = talk.candidates(some, each)
        committing = time.perf_counter()
        folder.commit(candidates=candidates, scores=scores, known_scores="skip")
        inside += time.perf_counter() - committing
    rows = len(places) * (1 + len(SCORERS))
    making = time.perf_counter() - began - inside
    return {"rows": rows, "seconds_in": round(inside, 2), "seconds_making": round(making, 2)}


# -- what is written --------------------------------------------------------------------------------------------------


class Talk:
    """Replies by chance, with scores by chance."""

    def __init__(self, seed: int) -> None:
        self._chance = np.random.default_rng([0, seed])
        numbers: dict[str, int] = {}
        follow: dict[int, list[int]] = {}
        for row in _bundled():
            for text in (*(turn["content"] for turn in row["messages"]), row["reference"]):
                said = [numbers.setdefault(word, len(numbers)) for word in text.split()]
                for word, after in itertools.pairwise(said):
                    follow.setdefault(word, []).append(after)
        self.words = list(numbers)
        self._first = np.array([number for word, number in numbers.items() if word[0].isupper()])
        after = [follow.get(number) or self._first.tolist() for number in range(len(numbers))]
        self._count = np.array([len(some) for some in after])
        self._start = np.cumsum(self._count) - self._count
        self._after = np.array([word for some in after for word in some])
        ids = np.random.default_rng(0).integers(100, 49_152, (len(numbers), 4))
        # A token for every seven letters: some 1.2 a word, as English has it.
        self.token_ids = [tuple(row[: 1 + len(word) // 7].tolist()) for row, word in zip(ids, numbers, strict=True)]

    def candidates(self, places: range, each: int) -> tuple[list[Candidate], list[ScoreRow]]:
        """The candidates of these places of the iteration, and their scores: scorer by scorer, as they are kept."""
        count, chance = len(places), self._chance
        words_NL = self.walks(count)
        lengths = chance.integers(SHORT, LONG + 1, count).tolist()
        whole = (chance.random(count) < 0.95).tolist()
        logprobs = -chance.gamma(3.0, 6.0, count)
        plain = (logprobs * 0.8 + chance.normal(size=count)).tolist()
        candidates = []
        for place, walk, length, stops, sampled, model in zip(
            places, words_NL.tolist(), lengths, whole, logprobs.tolist(), plain, strict=True
        ):
            words = walk[:length]
            ids = (*itertools.chain.from_iterable([self.token_ids[word] for word in words]), 2)
            text = " ".join([self.words[word] for word in words])
            key = CandidateKey(1, _id(place // each), place % each, GENERATOR)
            candidates.append(Candidate(key, text, ids, "stop" if stops else "length", sampled, model))
        return candidates, self._scores(candidates, lengths)

    def walks(self, count: int, chance: np.random.Generator | None = None) -> np.ndarray[Any, Any]:
        """(N, longest): words after words."""
        chance = chance or self._chance
        words = [self._first[chance.integers(0, len(self._first), count)]]
        for _ in range(LONG - 1):
            last = words[-1]
            words.append(self._after[self._start[last] + (chance.random(count) * self._count[last]).astype(int)])
        return np.stack(words, axis=1)

    def _scores(self, candidates: list[Candidate], lengths: list[int]) -> list[ScoreRow]:
        count, chance = len(candidates), self._chance
        missed = chance.choice(4, count, p=[0.45, 0.25, 0.2, 0.1]).tolist()
        named = chance.integers(0, len(FACTS) - 3, count).tolist()
        # As an embedding gives it: a number of 32 bits.
        relevance = chance.beta(4, 3, count).astype(np.float32).astype(np.float64).tolist()
        tidy = (chance.random(count) < 0.9).tolist()
        said = {
            "facts": [
                Score((3 - some) / 3, f"misses {', '.join(FACTS[first : first + some])}" if some else "")
                for some, first in zip(missed, named, strict=True)
            ],
            "relevance": [Score(value) for value in relevance],
            "tidy": [
                Score(float(fits), "" if fits else f"{length} words")
                for fits, length in zip(tidy, lengths, strict=True)
            ],
        }
        return [
            ScoreRow(candidate.key, name, fingerprint, score)
            for name, fingerprint in SCORERS.items()
            for candidate, score in zip(candidates, said[name], strict=True)
        ]


def _bundled() -> Iterator[dict[str, Any]]:
    for split in ("train", "heldout"):
        file = resources.files("rsft") / "data" / f"shop.{split}.jsonl.gz"
        yield from map(json.loads, gzip.decompress(file.read_bytes()).decode().splitlines())


def _prompts(count: int) -> list[Prompt]:
    """The bundled conversations, over and over."""
    turns = [tuple(Message(turn["role"], turn["content"]) for turn in row["messages"]) for row in _bundled()]
    return [
        Prompt(_id(number), turns[number % len(turns)], turns[number % len(turns)], {"facts": {"number": number}})
        for number in range(count)
    ]


def _id(number: int) -> str:
    return f"shop-train-{number:07d}"


if __name__ == "__main__":
    main()
