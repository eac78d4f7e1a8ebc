"""A server that rsft starts and stops itself, on this machine and for this machine only."""

from __future__ import annotations

import atexit
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rsft.errors import ServerError
from rsft.servers import guard

_LOOK_SECONDS = 0.25
_STOP_SECONDS = 20.0
# So much of a log is shown where a server does not come up.
_TAIL = 1500
# For this machine itself there is no proxy, whatever the environment says.
_ASK = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """A server process on 127.0.0.1. It ends when this process does, however that is.

    `command` gives the words to start it with on a port. What it prints goes to `log`. It is up when `health` answers.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        health: str = "/health",
        patience_seconds: float = 900,
    ) -> None:
        self.port = free_port()
        self.starts = 0
        self._command = command
        self._log = log
        self._environment = dict(environment or {})
        self._health = health
        self._patience = patience_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._turns = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, unless it runs, and wait until it is up. Raises ServerError where it does not come up."""
        with self._turns:
            if not self.is_alive:
                self._start()
        self._wait()

    def _start(self) -> None:
        self.port = self.port if _is_free(self.port) else free_port()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        # -I: what lies in the working folder must not stand for a module of the guard's.
        words = [sys.executable, "-I", guard.__file__, str(os.getpid()), *self._command(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
            )
        self.starts += 1
        atexit.unregister(self.stop)
        atexit.register(self.stop)

    def stop(self) -> None:
        """End it, by force if need be. Nothing happens where none runs."""
        atexit.unregister(self.stop)
        with self._turns:
            process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait(self) -> None:
        began = time.monotonic()
        while not (self._is_up() and self.is_alive):  # if it is dead, it was another that answered
            if not self.is_alive:
                raise ServerError(f"The server did not start. The end of its log ({self._log}):\n{self._tail()}")
            if time.monotonic() - began > self._patience:
                self.stop()
                raise ServerError(
                    f"The server was not up within {self._patience:g} s. The end of its log ({self._log}):\n"
                    f"{self._tail()}"
                )
            time.sleep(_LOOK_SECONDS)

    def _is_up(self) -> bool:
        try:
            with _ASK(self.address + self._health, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    def _tail(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _TAIL))
            return log.read(_TAIL).decode(errors="replace")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
