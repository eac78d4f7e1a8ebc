"""One training as it stands in its folder: what is to be done, and what is done of it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsft.models.packing import ReplyRow
from rsft.training.settings import SftSettings
from rsft.types import Policy


@dataclass(frozen=True, slots=True)
class Job:
    """Rows to learn, from which policy on and how, and the folder in which the work stands until it is done. `heldout`
    are rows to measure the loss of.

    The folder comes to hold `weights-N`, those after step N that may be kept, and then `log.json`. Each is whole or not
    there at all.
    """

    settings: SftSettings
    rows: tuple[ReplyRow, ...]
    heldout: tuple[ReplyRow, ...]
    start: Policy
    seed: int
    work: Path

    @property
    def steps_of_epoch(self) -> int:
        """Optimizer steps that see each of `rows` once."""
        return math.ceil(len(self.rows) / self.settings.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps in all: the epochs' number, or fewer."""
        of_epochs = math.ceil(self.steps_of_epoch * self.settings.epochs)
        return min(of_epochs, self.settings.max_steps or of_epochs)

    def begin(self) -> None:
        """Keep what an interrupted training left behind if it was this very one."""
        said = repr([self.settings, self.start.hash, self.seed, self.rows, self.heldout])
        what = hashlib.sha256(said.encode()).hexdigest()
        named = self.work / "training"
        if not named.is_file() or named.read_text(encoding="utf-8") != what:
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir(parents=True)
            named.write_text(what, encoding="utf-8")

    def forget(self) -> None:
        """From now on an interruption means to begin anew: the folder is being taken apart."""
        (self.work / "training").unlink()

    def finish(self, log: Sequence[Mapping[str, Any]]) -> None:
        """Keep the log; the weights are there."""
        aside = self.work / "log.part"
        aside.write_text(json.dumps(log), encoding="utf-8")
        os.replace(aside, self.work / "log.json")

    @contextmanager
    def visible(self) -> Iterator[Path]:
        """An empty file in the folder for a while, of a name that never was: who sees it sees the folder of now."""
        mark = self.work / f"seen-{uuid.uuid4().hex}"
        mark.touch()
        try:
            yield mark
        finally:
            mark.unlink()

    def to_carry(self) -> list[str]:
        """What another machine needs of the folder to begin, or to go on from the last checkpoint."""
        last = [folder.name for folder in list(self.checkpoints.values())[-1:]]
        return ["training", "job.json", "rows.parquet", "heldout.parquet", *last]

    def keep(self, made: Path) -> None:
        """Take over weights, a checkpoint or the log that were made elsewhere; what they replace is removed."""
        target = self.work / made.name
        if made.is_file():
            os.replace(made, target)
            return
        if target.is_dir():
            shutil.rmtree(target)
        os.rename(made, target)
        kind = made.name.partition("-")[0]
        if kind == "checkpoint" or self.keeps_one:
            for older in self.work.glob(f"{kind}-*"):
                if older != target:
                    shutil.rmtree(older)

    @property
    def keeps_one(self) -> bool:
        """Whether of all weights only the last, or the best, are kept."""
        return not self.heldout or self.settings.keep_by == "loss"

    @property
    def checkpoints(self) -> dict[int, Path]:
        """Whole checkpoints, by their steps."""
        return _by_step(self.work.glob("checkpoint-*"))

    @property
    def log(self) -> tuple[dict[str, Any], ...] | None:
        """What was logged, if the training is done."""
        file = self.work / "log.json"
        return tuple(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None

    @property
    def weights(self) -> dict[int, Path]:
        """The folders of weights, by the steps after which they were saved."""
        return _by_step(self.work.glob("weights-*"))


def _by_step(folders: Iterable[Path]) -> dict[int, Path]:
    return dict(sorted((int(folder.name.partition("-")[2]), folder) for folder in folders))
