"""Runs a server until it ends, its starter does, or somebody asks for the end: `guard.py PID WORDS`.

A server has processes of its own. They are a session, so that all of them end together. Run as a file, for it knows
the standard library only, and is there at once.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

_LOOK_SECONDS = 0.5
_STOP_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


def main() -> None:
    starter = int(sys.argv[1])
    wanted = True

    def end(*_: object) -> None:
        nonlocal wanted
        wanted = False

    # Before the server is there: a signal that came between would end the guard alone. No signal is ignored as such,
    # for the server would inherit that.
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
    signal.signal(signal.SIGINT, lambda *_: None)  # the starter hears it, and says what is to be done
    try:
        server = subprocess.Popen(sys.argv[2:], start_new_session=True, preexec_fn=_end_with_the_guard())  # noqa: PLW1509
    except OSError as error:
        sys.exit(f"{sys.argv[2]} can't be started: {error.strerror}")
    while wanted and os.getppid() == starter and server.poll() is None:
        time.sleep(_LOOK_SECONDS)
    _end(server)
    sys.exit(server.returncode if server.returncode > 0 else 0)


def _end_with_the_guard() -> Callable[[], object] | None:
    """What a child does to end when the guard is killed outright (on Linux; elsewhere it can't). There are no threads
    here that could be in the way of it."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    return prctl and (lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0))


def _end(server: subprocess.Popen[bytes]) -> None:
    """End all processes of the session: politely, then not."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, how)
        except ProcessLookupError:
            break
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        time.sleep(0.1)
    server.wait()


if __name__ == "__main__":
    main()
