"""Does a reply's code pass the tests of its prompt?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import regex
from pydantic import Field

from rsft.scorers.base import Scorer
from rsft.scorers.processes.sandbox import Broken, Kind, check, run_tests
from rsft.types import Reply, Score

_FENCE = regex.compile(r"^[ \t]{0,3}```[ \t]*+(?P<info>[^\n`]*+)$", regex.M)
_PYTHON = frozenset(["", "py", "python", "python3"])
_MOST_AT_ONCE = 8
# Failed tests that the explanation names.
_NAMED = 3


class CodeTests(Scorer):
    """1 if the reply's Python code passes the prompt's tests, else 0; of a list of tests, the share that it passes.

    The code is the last fenced block of Python (``` or ```python), or the whole reply if it has no fence; the tests are
    the prompt's field `field`, a text of asserts or a list of such. Each test begins anew, with the code loaded as a
    module and all its names at hand; names of Python's builtins mean Python's own there. The standard library is all
    that there is. `setup` names a field with what each test begins with, such as imports, in prompts that have it.

    Code runs in bubblewrap only: without network, other processes, environment, or files but the system's, which it
    can't change; with `memory_mb` for each process, 32 processes, and `seconds` of wall-clock time for all the tests of
    a reply, after which the sandbox is killed. Where rsft itself runs in a container, `sandbox: container` does without
    bubblewrap: time, memory and processes are limited, and all else is the container's. Without either no run begins.
    """

    example: ClassVar[Mapping[str, Any]] = {"seconds": 5}

    field: str = Field("tests", description="The prompt's field that holds the tests.")
    setup: str | None = Field(None, description="A field of Python, a text or a list of such, put before each test.")
    seconds: float = Field(10.0, gt=0, le=600, description="How long all tests of a reply may take.")
    memory_mb: int = Field(1024, ge=128, description="Memory of each process, in MiB.")
    sandbox: Kind = Field("bubblewrap", description="What the code is locked into.")

    def prepare(self) -> None:
        check(self.sandbox)

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        with ThreadPoolExecutor(max_workers=min(_MOST_AT_ONCE, len(os.sched_getaffinity(0)))) as pool:
            return list(pool.map(self._score, replies))

    def _score(self, reply: Reply) -> Score:
        given = reply.prompt.fields.get(self.field)
        tests = [given] if isinstance(given, str) else given
        if not isinstance(tests, (list, tuple)) or not all(isinstance(test, str) and test.strip() for test in tests):
            found = "is missing" if given is None else "must be a text of asserts, or a list of such"
            return Score.failed(f"the prompt's field '{self.field}' {found}")
        if not tests:
            return Score.failed(f"the prompt's field '{self.field}' is empty: there is nothing to pass")
        try:
            setup = self._setup(reply)
        except ValueError as error:
            return Score.failed(str(error))
        code = code_of(reply.text)
        if not code.strip():
            return Score(0.0, "no code")
        self.prepare()
        try:
            errors = run_tests(
                self.sandbox, code, [setup + test for test in tests], self.seconds, self.memory_mb * 2**20
            )
        except Broken as broken:
            return Score.failed(f"the sandbox broke: {broken}")
        failed = [(number, error) for number, error in enumerate(errors, 1) if error is not None]
        said = "; ".join(f"test {number}: {error}" for number, error in failed[:_NAMED])
        more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        passed = len(errors) - len(failed)
        return Score(passed / len(errors), f"passes {passed} of {len(errors)}{': ' if said else ''}{said}{more}")

    def _setup(self, reply: Reply) -> str:
        """What each test begins with, whole lines. Raises ValueError."""
        given = reply.prompt.fields.get(self.setup) if self.setup else None
        lines = [given] if isinstance(given, str) else given or []
        if not isinstance(lines, (list, tuple)) or not all(isinstance(line, str) for line in lines):
            raise ValueError(f"the prompt's field '{self.setup}' must be a text of Python, or a list of such")
        return "".join(f"{line.rstrip()}\n" for line in lines if line.strip())


def code_of(text: str) -> str:
    """The last fenced block of Python, up to the end if it is not closed; the whole text if it has no fence."""
    fences = _FENCE.finditer(text)
    fenced, code = False, ""
    for opening in fences:
        fenced = True
        closing = next((fence for fence in fences if not fence["info"]), None)
        if opening["info"].lower().partition(" ")[0].strip() in _PYTHON:
            code = text[opening.end() + 1 : closing.start() if closing else len(text)]
    return code if fenced else text
