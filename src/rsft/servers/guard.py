"""Runs a server until it ends, its starter does, or somebody asks for the end: `... -m rsft.servers.guard PID WORDS`.

A server has processes of its own. They are a session, so that all of them end together.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

_LOOK_SECONDS = 0.5
_STOP_SECONDS = 10.0


def main() -> None:
    starter = int(sys.argv[1])
    server = subprocess.Popen(sys.argv[2:], start_new_session=True)
    wanted = True

    def end(*_: object) -> None:
        nonlocal wanted
        wanted = False

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the starter hears it, and says what is to be done
    while wanted and os.getppid() == starter and server.poll() is None:
        time.sleep(_LOOK_SECONDS)
    _end(server)
    sys.exit(server.returncode or 0)


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
