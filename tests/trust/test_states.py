"""A run in the hands of somebody who does everything in any order: what was said once is not taken back."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from runs import acknowledged, elsewhere, in_child, killed_after, make_recipe, outcome

from rsft.errors import RunError
from rsft.labelling import Frame, Labelling
from rsft.loop import run
from rsft.progress import Silent
from rsft.reading import Filter, decided_candidates, status
from rsft.rescoring import rescore
from rsft.reselection import reselect
from rsft.store import RunFolder
from rsft.types import Label

FOLDER = Path("runs/handled")
SMALL = ("sampling.temperature=0.7", "loop={iterations: 2, control: random}", "evaluation={samples: 1}")


class Handling(RuleBasedStateMachine):
    """Generates, scores, labels, selects, resumes, damages and reads; kills in between."""

    @initialize()
    def begin(self) -> None:
        self.came_from = Path.cwd()
        self.place = tempfile.mkdtemp()
        os.chdir(self.place)
        make_recipe()
        self.recipe = elsewhere(str(FOLDER), *SMALL)
        self.rows: set[Any] = set()
        self.own: dict[Any, Any] = {}
        self.labels: dict[Any, Label] = {}
        self.named: dict[str, Any] = {}

    def teardown(self) -> None:
        os.chdir(self.came_from)
        shutil.rmtree(self.place)

    @rule(points=st.integers(1, 150))
    def generate_for_a_while(self, points: int) -> None:
        in_child(lambda: run(self.recipe), killed_after(points, of_draws=True))

    @rule()
    def generate_to_the_end(self) -> None:
        assert run(self.recipe)["finished"]

    @precondition(lambda self: self.own)
    @rule(words=st.integers(1, 9))
    def score_again(self, words: int) -> None:
        rescore(FOLDER, [f"scorers.long.min_words={words}"], Silent())

    @precondition(lambda self: self.own)
    @rule(words=st.integers(1, 9), name=st.sampled_from(["some", "others", "more"]))
    def select_otherwise(self, words: int, name: str) -> None:
        try:
            reselect(FOLDER, [f"selection=[polite >= 1, words >= {words}]"], name)
        except RunError:
            assert name in self.named or not self.own
        else:
            with RunFolder.open(FOLDER, write=False) as folder:
                self.named[name] = folder.decisions(name)

    @precondition(lambda self: self.own)
    @rule(word=st.sampled_from(["good", "bad", "skipped"]), undo=st.booleans())
    def label(self, word: Any, undo: bool) -> None:
        with RunFolder.open(FOLDER, write=True) as folder:
            labelling = Labelling(folder, Frame(folder, self.recipe, "words", 1), "ann", "calibration")
            if labelling.next is None:
                return
            labelling.say(word)
            if undo:
                labelling.undo()

    @precondition(lambda self: self.rows)
    @rule(seed=st.integers(0, 99), kind=st.sampled_from(["candidates", "scores"]))
    def damage(self, seed: int, kind: str) -> None:
        """What a flipped bit takes is owed again; nothing else is."""
        lots = random.Random(seed)
        victim = lots.choice(sorted((FOLDER / kind).glob("*.parquet")))
        content = bytearray(victim.read_bytes())
        content[lots.randrange(len(content))] ^= 1 << lots.randrange(8)
        victim.write_bytes(content)
        run(self.recipe)

    @precondition(lambda self: self.rows)
    @rule()
    def read(self) -> None:
        status(FOLDER)
        shown = decided_candidates(FOLDER, Filter(limit=1000))
        assert len(shown) == len(self.own)

    @invariant()
    def nothing_is_lost_or_changed(self) -> None:
        if not (FOLDER / "ledger.sqlite").is_file():
            return
        rows = acknowledged(FOLDER)
        assert self.rows <= rows
        self.rows = rows
        said = outcome(FOLDER)
        own = said["decisions"].get("policy", {})
        assert self.own.items() <= own.items(), "a run's own decisions never change"
        self.own = own
        for name, decisions in self.named.items():
            assert said["decisions"][name] == decisions, "nor does a named set"
        assert len({(label.key, label.labeller) for label in said["labels"]}) == len(said["labels"])


Handling.TestCase.settings = settings(
    max_examples=8,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestHandling = Handling.TestCase
