"""Is a reply's mathematical answer the right one?"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from rsft.errors import RecipeError
from rsft.scorers.answer import answers_in
from rsft.scorers.base import Scorer
from rsft.scorers.processes import math_worker
from rsft.types import Reply, Score


class MathAnswer(Scorer):
    """1 if math-verify finds the reply's answer equal to the right one, else 0; a reply without an answer has 0.

    The right answer is the prompt's field `field`: an expression (LaTeX, with or without dollars), a number, or a list
    of which each is right. What stands in \\boxed{} comes before other LaTeX, and that before plain numbers; of these
    the last one counts. Equal are numbers to 6 places and expressions that sympy can simplify into each other.

    It is computed in a process of its own, which is killed when a reply takes it more than `seconds`: that reply is
    failed, as is one that crashes it, and none beside them.
    """

    example: ClassVar[Mapping[str, Any]] = {"field": "answer"}

    field: str = Field("answer", description="The prompt's field that holds the right answer.")
    seconds: float = Field(5.0, gt=0, description="How long a reply may take.")

    @cached_property
    def _worker(self) -> _Worker:
        return _Worker()

    def prepare(self) -> None:
        if find_spec("math_verify") is None:
            raise RecipeError("The scorer 'math_answer' takes math-verify: pip install math-verify.")

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        self.prepare()
        return [self._score(reply) for reply in replies]

    def _score(self, reply: Reply) -> Score:
        try:
            right = answers_in(reply.prompt.fields.get(self.field), f"the prompt's field '{self.field}'")
        except ValueError as error:
            return Score.failed(str(error))
        try:
            said = self._worker.ask({"text": reply.text, "right": right, "seconds": self.seconds})
        except _Died as death:
            if death.code == -signal.SIGALRM:
                return Score.failed(f"took more than {self.seconds:g} s")
            if death.code == math_worker.OUT_OF_MEMORY:
                return Score.failed("took more memory than it may")
            return Score.failed(f"the process that compares it died (exit code {death.code})")
        if "failed" in said:
            return Score.failed(said["failed"])
        if said["answer"] is None:
            return Score(0.0, "no answer")
        verdict = f"answers {said['answer']}"
        return Score(float(said["right"]), verdict if said["right"] else f"{verdict}, not {right[0][:80]}")


class _Died(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


class _Worker:
    """A process that runs math_worker.py: started when it is first asked, and again when it has died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._end: Callable[[], Any] | None = None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Its word on a request. Raises _Died if it died of it."""
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
            return dict(_word(process))

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            process = subprocess.Popen(
                [sys.executable, "-P", str(Path(math_worker.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            if self._end is not None:
                self._end()
            # It ends when its stdin does, and so with this process; and with the scorer.
            self._process, self._end = process, weakref.finalize(self, _end, process)
            _word(process)  # ready: what it takes to load is not the first reply's time
        return self._process


def _word(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.endswith("\n"):
        process.kill()
        raise _Died(process.wait())
    return json.loads(line)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
