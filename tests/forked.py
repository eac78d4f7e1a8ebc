"""The command in processes of their own that need not wait for their libraries: forks of a server that has imported
these and computed nothing."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# What a run on a model of its own imports. Imports start no thread, so the server can be forked.
_IMPORTED = ["rsft.loop", "rsft.engines.local.serving", "rsft.training.sft", "rsft.training.fitting", "rsft.cli"]


class Ran(NamedTuple):
    """What a process left behind. The code of one that was killed is minus the signal."""

    returncode: int | None
    stdout: str
    stderr: str


def run_rsft(*words: str, **environment: str) -> Ran:
    """`rsft WORDS` in the working folder."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(_IMPORTED)
    with tempfile.TemporaryDirectory() as folder:
        outputs = (Path(folder) / "stdout", Path(folder) / "stderr")
        process = server.Process(target=_main, args=(words, environment, os.getcwd(), outputs))
        process.start()
        process.join()
        return Ran(process.exitcode, *(output.read_text() for output in outputs))


def _main(words: Sequence[str], environment: dict[str, str], where: str, outputs: Sequence[Path]) -> None:
    from rsft.cli import main

    for number, output in enumerate(outputs, 1):
        os.dup2(os.open(output, os.O_CREAT | os.O_WRONLY), number)
    os.chdir(where)
    os.environ.update(environment)
    sys.argv = ["rsft", *words]
    main()
