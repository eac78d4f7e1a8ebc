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
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rsft.errors import ServerError
from rsft.servers import guard

_LOOK_SECONDS = 0.25
_STOP_SECONDS = 20.0
# How long a server that came to its end may keep its port.
_PORT_SECONDS = 10.0
# So much of a log is shown where a server does not come up.
_TAIL = 1500
# For this machine itself there is no proxy, whatever the environment says.
_ASK = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with _bound(0) as probe:
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
        held = _bound(0)
        self.port = int(held.getsockname()[1])
        self._holds = _held(self, held)
        self._command = command
        self._log = log
        self._environment = dict(environment or {})
        self._health = health
        self._patience = patience_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._turns = threading.Lock()
        self._is_over = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, unless it runs, and wait until it is up. Raises ServerError where it does not come up.

        One that is found coming to its end is waited for, and started again.
        """
        ours = self._spawned()
        came_up = self._comes_up()
        if not came_up and not ours:
            self._spawned()
            came_up = self._comes_up()
        if not came_up:
            raise ServerError(f"The server did not start. The end of its log ({self._log}):\n{self._tail()}")

    def _spawned(self) -> bool:
        """Start the process, unless it runs; whether it was started now."""
        with self._turns:
            if self.is_alive:
                return False
            if self._is_over:
                raise ServerError("The server was ended, and is not started again.")
            self._wait_for_port()
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
                    # Ray kills the process group of a worker that died: the guard has to see to the end of the server.
                    start_new_session=True,
                )
            atexit.unregister(self.stop)
            atexit.register(self.stop)
            return True

    def _wait_for_port(self) -> None:
        """Those who know the address keep it, so a server that is started again has its old port. Raises ServerError
        where another program has it now: that would hear what is meant for ours."""
        began = time.monotonic()
        while not _is_free(self.port):
            if time.monotonic() - began > _PORT_SECONDS:
                raise ServerError(f"Another program uses the port {self.port} of the server. Go on with rsft resume.")
            time.sleep(_LOOK_SECONDS)

    def stop(self, *, for_good: bool = False) -> None:
        """End it, by force if need be. Nothing happens where none runs. For good: whoever still waits for it, and would
        have it started again, is refused."""
        atexit.unregister(self.stop)
        with self._turns:
            process, self._process = self._process, None
            self._is_over = self._is_over or for_good
        if for_good:
            self._holds()
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _comes_up(self) -> bool:
        """Wait until it is up; False if it ended. Raises ServerError where that takes too long."""
        began = time.monotonic()
        while not (is_up(self.address + self._health) and self.is_alive):  # if it is dead, another answered
            if not self.is_alive:
                return False
            if time.monotonic() - began > self._patience:
                self.stop()
                raise ServerError(
                    f"The server was not up within {self._patience:g} s. The end of its log ({self._log}):\n"
                    f"{self._tail()}"
                )
            time.sleep(_LOOK_SECONDS)
        return True

    def _tail(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _TAIL))
            return log.read(_TAIL).decode(errors="replace")


def _bound(port: int) -> socket.socket:
    """A socket that is bound to a port of the loopback interface, 0 for any. Raises OSError where somebody listens."""
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        raise
    return bound


def _held(owner: object, bound: socket.socket) -> Callable[[], object]:
    """Keep a port for the server that an owner has yet to start, and for as long as the owner is there or until what
    is returned is called. A server needs a while until it listens, and two that have the same port may both do so:
    vLLM's asks the system for that.

    On Linux nobody who asks for any port is given one that is bound, though nobody listens; and who listens on this
    very one, with SO_REUSEADDR as servers do, still may. Elsewhere it is not held.
    """
    if sys.platform != "linux":
        bound.close()
        return lambda: None
    return weakref.finalize(owner, os.close, bound.detach())


def _is_free(port: int) -> bool:
    try:
        _bound(port).close()
    except OSError:
        return False
    return True


def is_up(address: str) -> bool:
    """Whether an address answers with 200."""
    try:
        with _ASK(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def wait_until_up(address: str, patience_seconds: float) -> None:
    """Wait for a server that somebody else brings back. Raises ServerError where nobody does."""
    began = time.monotonic()
    while not is_up(address):
        if time.monotonic() - began > patience_seconds:
            raise ServerError(
                f"The server did not answer at {address} for {patience_seconds:g} s. What was drawn is kept: see to "
                "it, and go on with rsft resume."
            )
        time.sleep(_LOOK_SECONDS)
