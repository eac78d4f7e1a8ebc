"""Following a training on its nodes: what is said, what has come of it, and how it ended."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rsft.errors import TrainingError
from rsft.store.shipping import Unpacking
from rsft.training.base import Progress
from rsft.training.job import Job
from rsft.training.launch import FAILED, STEP, WARNING
from rsft.training.nodes.member import Lost, Member
from rsft.training.nodes.node import Heard

# Once something failed, so long the others may still say why.
_LAST_WORDS_SECONDS = 5.0
# An answer comes within a second or so; that of a lost node when Ray notices.
_LOOK_SECONDS = 1.0
# So long a network disk may not show what another machine wrote.
_LATE_SECONDS = 90.0
# How torchrun tells that a process was killed. (It terminates the others itself.)
_KILLED = re.compile(r"Signal \d+ \((?!SIGTERM)(SIG\w+)\) received by PID")
# What processes say whose peers went away: no reason, but what follows from one.
_SEQUEL = re.compile(
    r"Dist(Backend|Network|Store)Error|NCCL|[Gg]loo|(closed|reset) by peer|Broken pipe|Timed out waiting"
)

_log = logging.getLogger("rsft")


class Following:
    """The driver's part while processes train."""

    def __init__(self, ray: Any, members: list[Member], job: Job, progress: Progress) -> None:
        self._ray = ray
        self._members = members
        self._job = job
        self._progress = progress
        self._logs = {member: job.work / f"processes-{_as_file(member.name)}.log" for member in members}
        self._made: dict[Member, tuple[str, ...]] = dict.fromkeys(members, ())
        self._have: set[str] = set()
        self._reached = "They did not even begin"
        self._losses: list[str] = []
        self._reasons: list[str] = []
        self._sequels: list[str] = []
        self._explained: set[Member] = set()

    def to_the_end(self) -> None:
        """Until all ended well, and the log and the weights are in the job's folder. Raises Lost, or TrainingError for
        a reason that would be there again."""
        asked = {member.ask("heard"): member for member in self._members}
        failed: float | None = None
        while asked and (failed is None or time.monotonic() < failed + _LAST_WORDS_SECONDS):
            answers, _ = self._ray.wait(list(asked), num_returns=1, timeout=_LOOK_SECONDS)
            if not answers:
                continue
            member = asked.pop(answers[0])
            try:
                heard: Heard = member.get(answers[0])
                self._hear(member, heard)
            except Lost as lost:
                self._losses.append(str(lost))
                failed = failed or time.monotonic()
                continue
            if heard.code is None:
                asked[member.ask("heard")] = member
            elif heard.code != 0:
                if member not in self._explained:
                    self._losses.append(f"On the node {member.name} the processes ended and did not say why.")
                failed = failed or time.monotonic()
            if failed is None:
                self._bring_home()
        if failed is None:
            self._bring_home(ended=True)
            self._see_log()
        else:
            self._tell_failure()

    def _see_log(self) -> None:
        """Wait for the log, which was written: a network disk may show it late."""
        began = time.monotonic()
        while self._job.log is None:
            if time.monotonic() - began > _LATE_SECONDS:
                raise Lost(f"All processes ended well, and {self._job.work} holds no log of it.")
            os.listdir(self._job.work)
            time.sleep(0.2)

    def _hear(self, member: Member, heard: Heard) -> None:
        with self._logs[member].open("a", encoding="utf-8") as log:
            for line in heard.lines:
                if line.startswith(STEP):
                    step, of = map(int, line.removeprefix(STEP).split())
                    self._progress(step, of)
                    self._reached = f"They ended after step {step} of {of}"
                    continue
                if line.startswith(WARNING):
                    _log.warning("%s", line.removeprefix(WARNING).strip())
                self._note_failure(member, line)
                log.write(line)
        self._made[member] = heard.made

    def _note_failure(self, member: Member, line: str) -> None:
        if line.startswith(FAILED):
            said = line.removeprefix(FAILED).strip()
            (self._sequels if _SEQUEL.search(said) else self._reasons).append(f"On the node {member.name}: {said}")
            self._explained.add(member)
        if killed := _KILLED.search(line):
            why = " (it may have been short of memory)" if killed[1] == "SIGKILL" else ""
            self._losses.append(f"On the node {member.name} a process was killed by {killed[1]}{why}.")
            self._explained.add(member)

    def _tell_failure(self) -> None:
        if self._losses or not self._reasons:
            raise Lost([*self._losses, *self._sequels][0])
        raise TrainingError(
            f"The processes that were to train together (training.launch: {self._job.settings.launch}, nodes:"
            f" {self._job.settings.nodes}) failed. {self._reasons[0]}\n{self._reached}. All that they said is in"
            f" {self._job.work} (processes-*.log). Go on from the last checkpoint with rsft resume."
        )

    def _bring_home(self, *, ended: bool = False) -> None:
        """Take over what is new in the nodes' own folders (where there are none, it is here): weights as the first node
        has them, a checkpoint when each node has its part, and at the end the log."""
        first, *others = (set(self._made[member]) for member in self._members)
        for name in sorted(first - self._have, key=_step):
            if name.startswith("weights-"):
                self._fetch(name, self._members[:1])
            elif name.startswith("checkpoint-") and not ended and all(name in made for made in others):
                self._fetch(name, self._members)
        if ended and "log.json" in first:
            self._fetch("log.json", self._members[:1])

    def _fetch(self, name: str, members: Iterable[Member]) -> None:
        """Put a file or a folder into the job's, whole; what replaces older ones removes them."""
        aside = self._job.work / "fetched"
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(FileNotFoundError):  # a newer one has replaced it meanwhile
            for number, member in enumerate(members):
                self._receive(member, name, aside / str(number))
                if number:
                    _join(aside / str(number) / name, aside / "0" / name)
            self._have.add(name)
            self._job.keep(aside / "0" / name)
        shutil.rmtree(aside, ignore_errors=True)

    def _receive(self, member: Member, name: str, target: Path) -> None:
        stream = member.stream("send", name)
        with Unpacking(next(stream), target) as unpacking:
            for part in stream:
                unpacking.add(part)
            unpacking.finish()


def _join(part: Path, whole: Path) -> None:
    """Move what a folder holds and the other lacks."""
    for file in sorted(part.rglob("*")):
        target = whole / file.relative_to(part)
        if file.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(file, target)


def _step(name: str) -> tuple[int, str]:
    number = name.rpartition("-")[2]
    return (int(number) if number.isdigit() else 0, name)


def _as_file(name: str) -> str:
    return re.sub(r"[^\w.-]", "-", name)
