"""What works on a machine of the cluster: an engine in a process of its own, that is told what to draw and asked for
what came. It knows nothing of Ray: whoever can call its methods may be its driver."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from rsft.cluster.leases import News
from rsft.cluster.policies import Proof, proof
from rsft.engines.base import CANCELLED, Cancelled, EngineKind, Pace, Request, Sampling, Watch
from rsft.errors import RunError, UserError
from rsft.models.student import Student
from rsft.types import Candidate, Policy, Prompt

# How long one that is asked waits for a first candidate, and then for some more: each call costs the driver a little.
_ASKED_SECONDS, _GATHERING_SECONDS = 1.0, 0.01
# The same of a drawing that is over, while another one may be about to begin.
_ENDED_SECONDS = 0.05
_MOST_AT_ONCE = 4096
# How often logs are looked at, and how much of each is told at once.
_LOGS_SECONDS, _MOST_LOGGED = 2.0, 2**18

_log = logging.getLogger("rsft")


@dataclass(frozen=True, slots=True)
class Station:
    """What a worker's engine is opened by, on any machine. `references` are those of the model that is trained, None
    for an engine that does not read like it; `home` is the folder from which a recipe's paths are read."""

    kind: EngineKind
    options: Mapping[str, Any]
    references: Sequence[str] | None
    dtype: str
    trust_remote_code: bool
    lora_rank: int | None
    home: str
    token: str
    """A file that is there wherever the driver's disk is seen."""

    @property
    def student(self) -> Student | None:
        if self.references is None:
            return None
        return Student(tuple(self.references), self.dtype, self.trust_remote_code, self.lora_rank)


@dataclass(frozen=True, slots=True)
class Facts:
    """Where a worker is, and what its engine says of itself."""

    host: str
    pid: int
    base: Policy
    description: dict[str, object]
    rows: int
    tells_tokens: bool
    node: str = ""
    """What Ray calls its machine."""
    sees: bool = True
    """Whether it sees its driver's disk."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a drawing since a worker was last asked. `error` ended it."""

    drawing: int
    candidates: Sequence[Candidate] = ()
    error: UserError | None = None
    told: Mapping[str, Sequence[str]] = field(default_factory=dict)
    proof: Proof | None = None
    """Once of each policy that it draws from."""
    logs: Mapping[str, bytes] = field(default_factory=dict)
    """What was written into its logs meanwhile, by file."""


class Worker:
    """Draws with an engine of its own, in a thread beside those that answer the driver."""

    def __init__(self, station: Station, logs: Path) -> None:
        with contextlib.suppress(OSError):
            os.chdir(station.home)
        self._logs = _Logs(logs)
        self._student = station.student
        self._engine = station.kind.open(station.options, self._student, logs)
        self._sees = Path(station.token).is_file()
        self._at_engine = threading.Lock()
        self._proven: set[str] = set()
        self._proof: Proof | None = None
        """What is still to be told."""
        self._drawing = _Drawing(0, self._engine.base, None, None)
        self._drawing.end()

    def facts(self) -> Facts:
        engine = self._engine
        where = socket.gethostname(), os.getpid()
        return Facts(*where, engine.base, engine.description, engine.rows, engine.tells_tokens, sees=self._sees)

    def begin(self, number: int, policy: Policy, watch: Watch | None, witness: Prompt | None = None) -> None:
        """From now on, draw what is told under this number. `witness` is a prompt by which the policy's weights are
        proven, the same for all workers."""
        self._drawing.end()
        self._drawing = _Drawing(number, policy, watch, witness)
        threading.Thread(target=self._draw, args=(self._drawing,), name=f"drawing {number}", daemon=True).start()

    def tell(self, number: int, news: News) -> None:
        """Further requests, other bounds, what is not wanted any more."""
        if self._drawing.number == number:
            self._drawing.hear(news)

    def take(self, seconds: float = _ASKED_SECONDS) -> Taken:
        """What came since this was last asked; waits for so long where nothing has."""
        drawing = self._drawing
        candidates = drawing.take(seconds)
        error = None if candidates else drawing.error
        said, self._proof = self._proof, None
        logs = self._logs.further(at_once=error is not None)
        return Taken(drawing.number, candidates, error, self._engine.told, said, logs)

    def end(self, number: int) -> None:
        """No more of this drawing is wanted."""
        if self._drawing.number == number:
            self._drawing.end()

    def reply_logprobs(
        self, policy: Policy, replies: Sequence[tuple[Prompt, Candidate]], temperature: float
    ) -> list[float] | None:
        """See `Engine.reply_logprobs`."""
        with self._at_engine:
            return self._engine.reply_logprobs(policy, replies, temperature)

    def text(self, token_ids: Sequence[int]) -> str:
        """See `Engine.text`."""
        return self._engine.text(token_ids)

    def release(self) -> None:
        """See `Engine.release`."""
        self._drawing.end()
        with self._at_engine:
            self._engine.release()

    def close(self) -> None:
        """Nothing will be sampled any more."""
        self._drawing.end()
        with self._at_engine:
            self._engine.close()
        self._logs.remove()

    def _prove(self, drawing: _Drawing) -> None:
        if drawing.witness is not None and drawing.policy.hash not in self._proven:
            self._proven.add(drawing.policy.hash)
            self._proof = proof(self._engine, self._student, drawing.policy, drawing.witness)

    def _draw(self, drawing: _Drawing) -> None:
        with self._at_engine:
            while requests := drawing.next():
                try:
                    self._prove(drawing)
                    sampling = self._engine.sample(drawing.policy, requests, drawing.watch, drawing)
                    drawing.run(sampling)
                except UserError as error:
                    drawing.error = error
                    return
                except Exception as error:
                    _log.exception("the engine failed")
                    drawing.error = RunError(f"A worker's engine failed: {error!r} (its log says where)")
                    return


class _Logs:
    """A folder of logs, this process's own among them, and how much of each has been told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told: dict[Path, int] = {}
        self._looked_at = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._own = logging.FileHandler(folder / "worker.log", encoding="utf-8", delay=True)
        self._own.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        logging.getLogger().addHandler(self._own)

    def remove(self) -> None:
        """All of them have been told."""
        logging.getLogger().removeHandler(self._own)
        self._own.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def further(self, *, at_once: bool = False) -> dict[str, bytes]:
        """What the files have come to hold since this was last asked; nothing if that was just now."""
        if time.monotonic() - self._looked_at < _LOGS_SECONDS and not at_once:
            return {}
        self._looked_at = time.monotonic()
        found: dict[str, bytes] = {}
        for file in sorted(self._folder.rglob("*.log")):
            with contextlib.suppress(FileNotFoundError), file.open("rb") as stream:
                stream.seek(self._told.get(file, 0))
                if further := stream.read(_MOST_LOGGED):
                    found[str(file.relative_to(self._folder))] = further
                self._told[file] = stream.tell()
        return found


class _Drawing(Pace):
    """One drawing: what is owed of it, and how far its prompts may go. It is the pace of the engine."""

    def __init__(self, number: int, policy: Policy, watch: Watch | None, witness: Prompt | None) -> None:
        self.number = number
        self.policy = policy
        self.watch = watch
        self.witness = witness
        self.error: UserError | None = None
        self._came = SimpleQueue[Candidate | None]()
        self._changed = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._bounds: dict[str, int] = {}
        self._prompts: set[str] = set()
        self._cancelled = Cancelled()
        self._sampling: Sampling | None = None
        self._over = False
        self._heard = self._waited = 0

    # -- for the engine's thread --

    def bound(self, prompt_id: str) -> int:
        return 0 if self._over else self._bounds.get(prompt_id, 0)

    def wait(self) -> None:
        with self._changed:
            # What was heard since it last waited may have come after it looked at the bounds.
            self._changed.wait_for(lambda: self._over or self._heard != self._waited or bool(self._waiting))
            self._waited = self._heard

    @property
    def expects_more(self) -> bool:
        return True

    def further(self) -> Sequence[Request]:
        if not self._waiting:
            return ()
        with self._changed:
            requests = list(self._waiting)
            self._waiting.clear()
            return requests

    def next(self) -> Sequence[Request]:
        """The first requests of a further sampling, when there are some; none once all is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or bool(self._waiting))
            return () if self._over else self.further()

    def run(self, sampling: Sampling) -> None:
        """Take what the engine draws."""
        with self._changed:
            if self._over:  # before the engine was there to hear of it
                sampling.close()
                return
            self._sampling = sampling
            _cancel(sampling, self._cancelled)  # what was so before the engine was there to hear of it
        try:
            for candidate in sampling:
                if self._over:
                    break
                self._came.put(candidate)
        finally:
            with self._changed:
                self._sampling = None
            sampling.close()

    # -- for those that answer the driver --

    def hear(self, news: News) -> None:
        with self._changed:
            self._heard += 1
            self._bounds.update(news.bounds)
            self._prompts.update(news.bounds)
            self._waiting.extend(news.requests)
            self._cancel(news)
            self._changed.notify_all()

    def take(self, seconds: float) -> Sequence[Candidate]:
        found: list[Candidate] = []
        deadline = time.monotonic() + (min(seconds, _ENDED_SECONDS) if self._over else seconds)
        while len(found) < _MOST_AT_ONCE:
            try:
                left = deadline - time.monotonic()
                came = self._came.get(timeout=left) if left > 0 else self._came.get_nowait()
                if came is None:
                    break
                found.append(came)
            except Empty:
                break
            if len(found) == 1:
                deadline = time.monotonic() + _GATHERING_SECONDS
        return found

    def end(self) -> None:
        with self._changed:
            self._over = True
            self._came.put(None)  # whoever waits for more
            if self._sampling is not None:
                _cancel(self._sampling, Cancelled(prompts=self._prompts))
            self._changed.notify_all()

    def _cancel(self, news: News) -> None:
        cancelled = news.cancelled
        self._cancelled.keys |= cancelled.keys
        self._cancelled.prompts |= cancelled.prompts
        unbegun = [request for request in self._waiting if request.key in cancelled]
        for request in unbegun:  # the engine has not seen it
            self._waiting.remove(request)
            self._came.put(Candidate(request.key, "", (), "cancelled", None, None, CANCELLED))
        if self._sampling is not None:
            _cancel(self._sampling, cancelled)


def _cancel(sampling: Sampling, cancelled: Cancelled) -> None:
    for prompt_id in cancelled.prompts:
        sampling.cancel_prompt(prompt_id)
    for key in cancelled.keys:
        sampling.cancel(key)
