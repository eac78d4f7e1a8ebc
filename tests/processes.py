"""The command in processes of their own that need not wait for their libraries: forks of a server that has imported
these and computed nothing."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from command import Said

# What a run on a model of its own imports. Nothing has been computed by then, so no pool of threads is lost in a fork.
_IMPORTED = ["rsft.loop", "rsft.engines.local.serving", "rsft.training.sft", "rsft.training.fitting", "rsft.cli"]


def run_rsft(*words: str, **environment: str) -> Said:
    """`rsft WORDS` in this folder and environment, and what is added to it. Who is killed has minus the signal as its
    code."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(_IMPORTED)
    with tempfile.TemporaryDirectory() as folder:
        outputs = (Path(folder) / "stdout", Path(folder) / "stderr")
        for output in outputs:
            output.touch()
        # The server has the environment of the moment when it began.
        process = server.Process(target=_main, args=(words, {**os.environ, **environment}, os.getcwd(), outputs))
        process.start()
        process.join()
        assert process.exitcode is not None
        return Said(process.exitcode, *(output.read_text() for output in outputs))


def _main(words: Sequence[str], environment: Mapping[str, str], where: str, outputs: Sequence[Path]) -> None:
    for number, output in enumerate(outputs, 1):
        os.dup2(os.open(output, os.O_WRONLY), number)
    os.chdir(where)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["rsft", *words]

    from rsft.cli import main

    main()
