"""The process that compares mathematical answers: a request a line on stdin, a word a line on stdout, in JSON.

It is run as a program by `math_answer`, and imports nothing else of rsft. An alarm of the kernel ends it when a
request takes too long: expressions that never end may never leave the arithmetic in which a Python signal handler would
be waited for.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
from typing import Any

OUT_OF_MEMORY = 3
"""The exit code of a worker that a request drove out of memory."""

_MEMORY = 4 * 2**30
# Words of these scripts stand right beside a number, where math-verify looks for a gap.
_CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uffef]+")
_DELIMITED = re.compile(r"\$.*\$|\\\(|\\\[|\\boxed", re.S)
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF10, 0xFF1A)}


def main() -> None:
    # Nothing but words may go to the pipe, whatever a library prints.
    words = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's end ends it, too
    import math_verify  # noqa: F401

    print(json.dumps("ready"), file=words, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])
        try:
            said = _compare(request["text"], request["right"])
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except Exception as error:
            said = {"failed": f"{type(error).__name__}: {error}"[:200]}
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(said), file=words, flush=True)


def _compare(text: str, right: list[str]) -> dict[str, Any]:
    from math_verify import verify

    golds = [_read(one if _DELIMITED.search(one) else f"${one}$") for one in right]
    for one, gold in zip(right, golds, strict=True):
        if not gold:
            return {"failed": f"math-verify can't read the right answer {one[:80]!r}"}
    plain = _CJK.sub(" ", text.translate(_FULL_WIDTH))
    # '\$18' is read as nothing.
    answer = _read(plain) or _read(plain.replace("\\$", " "))
    if not answer:
        return {"answer": None, "right": False}
    # Its own time-out works in a main thread, and only between two steps of Python.
    agrees = any(verify(gold, answer, timeout_seconds=None, raise_on_error=True) for gold in golds)
    return {"answer": str(answer[-1])[:80], "right": agrees}


def _read(text: str) -> Any:
    from math_verify import parse

    return parse(text, parsing_timeout=None, raise_on_error=True)


if __name__ == "__main__":
    main()
