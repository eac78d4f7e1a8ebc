"""Tells one tracker of a run, beside the run: as fast as it takes it, and without the run having to wait."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rsft import failpoints
from rsft.config import Recipe
from rsft.config.section import Section
from rsft.errors import StoreError, UserError
from rsft.store import RunFolder
from rsft.tracking.base import About, Tracker
from rsft.tracking.memory import Memory
from rsft.tracking.numbers import committed

# So often the run folder is looked at; so long a tracker that failed is left alone; and so long the end of a run waits
# for what a tracker has not taken yet.
_LOOK_SECONDS, _AFTER_FAILURE_SECONDS, LAST_SECONDS = 3.0, 60.0, 60.0


class Teller:
    """A thread that tells a tracker what the stages of a run have committed, each stage once in the run's life.

    What fails is tried again: later, at the end of this sitting, in the next one. `warn` hears of the first failure.
    """

    def __init__(
        self, name: str, kind: type[Tracker], options: Section, recipe: Recipe, warn: Callable[[str], None]
    ) -> None:
        self.name = name
        self.told = 0
        self.failure: str | None = None
        self._kind, self._options, self._recipe, self._warn = kind, options, recipe, warn
        self._run = Path(recipe.run)
        self._tracker: Tracker | None = None
        self._memory: Memory | None = None
        self._not_before = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"rsft-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Nothing more will be committed: tell what is left."""
        self._ending.set()

    def wait(self, seconds: float | None) -> None:
        """Wait for the end: no longer than so, where that is said."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._fail("it did not take all in time")

    def _work(self) -> None:
        while not self._ending.wait(_LOOK_SECONDS):
            if time.monotonic() >= self._not_before:
                self._try(self._tell)
        self._try(self._tell)
        self._try(self._close)

    def _try(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:
            self._not_before = time.monotonic() + _AFTER_FAILURE_SECONDS
            said = str(error) if isinstance(error, UserError | StoreError) else f"{type(error).__name__}: {error}"
            self._fail(_harmless(" ".join(said.split()))[:300])

    def _tell(self) -> None:
        memory = self._memory or Memory(self._run, self.name)
        if self._memory is None and self._kind.begins_anew:
            memory.forget()
        self._memory = memory
        stages = committed(self._run, memory.told)
        if not stages:
            return
        rows = memory.owed(stages)
        if self._tracker is None:
            self._tracker = self._kind.open(self._options, self._about(memory))
        try:
            self._tracker.tell(rows)
        except Exception:
            if self._kind.begins_anew:  # it holds nobody knows how much of them
                with suppress(Exception):
                    self._tracker.close(False)
                self._tracker = self._memory = None
            raise
        failpoints.reached("tracking.told")
        memory.add()
        self.told += len(stages)

    def _close(self) -> None:
        if self._tracker is not None:
            with RunFolder.open(self._run, write=False) as folder:
                finished = folder.finished
            self._tracker.close(finished)

    def _about(self, memory: Memory) -> About:
        named: Any = self._options
        # The runs of several seeds lie in one folder, and are called after it.
        own = self._run.name if not self._run.name.startswith("seed_") else f"{self._run.parent.name}-{self._run.name}"
        name = named.name or own
        return About(memory.id, name, self._run, self._recipe.model_dump(mode="json"))

    def _fail(self, why: str) -> None:
        if self.failure is None:
            self.failure = why
            self._warn(
                f"{self.name} could not be told of the run ({why}). The run goes on; what is owed is tried again, and "
                f"rsft track {self._run} tells the rest afterwards."
            )


def _harmless(text: str) -> str:
    """What a library says, without the keys and passwords that its environment variables may hold."""
    text = re.sub(r"//[^/\s@]*@", "//", text)
    for name, value in os.environ.items():
        if re.search("KEY|TOKEN|SECRET|PASSWORD", name) and len(value) >= 6:
            text = text.replace(value, f"${name}")
    return text
