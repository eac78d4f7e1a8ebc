"""The recipe of runs by fakes that the pages show."""

from __future__ import annotations

from pathlib import Path

import rsft
from questions import write_questions
from rsft.cluster.roll import Roll

EVIL = '<img src=x onerror=alert(1)>{{ 7 * 7 }}</script><svg onload="alert(2)">\x1b[31m'
RECIPE = """
model: none
engine:
  type: scripted
  replies: ["Good: {prompt}", "Good and well: {prompt}", "Bad: {prompt}", "Bad", "Good"]
  lessons: ["Good: {prompt}", "Good again: {prompt}", "Bad again"]
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 6, max_tokens: 40}
budget: {stop_at_accepted: null, early_rejection: false}
scorers:
  polite: {type: format, pattern: "Good.*"}
  long: {type: length, min_words: 2}
  words: mine.py:words
selection: [polite >= 1, words >= 2, {cap: 2}]
training: {type: "null"}
guards: {plateau: off}
loop: {iterations: 2, control: random}
"""
SCORERS = """
from hashlib import sha256


def words(replies):
    return [len(reply.text.split()) for reply in replies]


def lucky(replies):
    return [sha256(reply.text.encode()).digest()[0] % 2 for reply in replies]
"""
LUCKY = ("scorers.lucky=mine.py:lucky", "selection=[lucky >= 1]")
"""Overrides by which some replies are accepted and others not, whatever they say."""


def write_recipe(*overrides: str) -> rsft.Recipe:
    """The recipe and its files, in the working folder."""
    Path("scripted.yaml").write_text(RECIPE)
    Path("mine.py").write_text(SCORERS)
    write_questions(train=8, heldout=6)
    return rsft.load_recipe("scripted.yaml", "run=runs/bot", *overrides)


def write_workers(run: Path) -> None:
    """Have had four workers at a run, of whom one was lost, with a log, and one never came."""
    roll = Roll(run / "servers")
    for number in range(1, 4):
        name = f"worker-{number}"
        roll.joined(name, f"node-{number % 2}.cluster.example", 4700 + number)
        roll.came(name, 1200 * number, 50_000 * number)
        roll.entries[name].seconds = 40.0
        roll.logged(name, {"worker.log": b"INFO it began\n" * 300, "server.log": b"0.5 s: serving " * 40})
    roll.left("worker-2", "The actor died because its node has died. Node Id: 5d2c1a8ffa6d3b04c9e7")
    roll.left("worker-4", "There is no GPU on this machine (engine.device).")
    roll.rest(overtaken=3)
