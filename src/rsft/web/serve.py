"""Starts the server behind `rsft ui`, and shows the way to it."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rsft.errors import RunError
from rsft.web.app import gated
from rsft.web.gate import in_url


@dataclass(frozen=True, slots=True)
class Served:
    """What is served, and the address that opens it. It holds this start's key."""

    folder: str
    host: str
    address: str

    def in_words(self) -> str:
        open_to_others = f"Whoever reaches {self.host} with this address can read all of it, and nothing is encrypted."
        lines = [f"The runs of {self.folder}: {self.address}", "End with Ctrl+C."]
        return "\n".join(lines if _is_loopback(self.host) else [*lines, open_to_others])


def serve(folder: Path, host: str, port: int, *, open_browser: bool, tell: Callable[[Served], None]) -> None:
    """Serve the runs below a folder until the process is interrupted. Port 0 takes one that is free.

    Raises RunError if there is no such folder, or it can't listen there.
    """
    import uvicorn

    if not folder.is_dir():
        raise RunError(f"There is no folder {folder}. Name the one that holds your runs: rsft ui FOLDER.")
    listening = _listen(host, port)
    bound = int(listening.getsockname()[1])
    gate = gated(folder, host, bound)
    address = f"http://{_seen(host)}:{bound}/?token={gate.token}"
    tell(Served(str(folder), host, address))
    # The log would hold addresses, and the first of them the key; and a warning for each WebSocket that is refused.
    config = uvicorn.Config(gate, log_level="error", access_log=False, server_header=False, ws="none")
    opening = _opened(address) if open_browser and _has_screen() else contextlib.nullcontext()
    with opening, contextlib.suppress(KeyboardInterrupt):  # which is how it ends
        uvicorn.Server(config).run(sockets=[listening])


def _seen(host: str) -> str:
    """The host of an address that leads to who listens there."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}.get(host, in_url(host))


def _listen(host: str, port: int) -> socket.socket:
    listening: socket.socket | None = None
    try:
        kind = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(kind[0], socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(kind[4])
        listening.listen(128)
    except OSError as error:
        if listening is not None:
            listening.close()
        raise RunError(
            f"Nothing can listen at {host}, port {port}: {error.strerror or error}. Take another one (--port 0: any)."
        ) from None
    return listening


@contextlib.contextmanager
def _opened(address: str) -> Iterator[None]:
    """Open the address in a browser, by way of a file that nobody else can read: a command line can be seen by all."""
    with tempfile.TemporaryDirectory(prefix="rsft-") as private:
        file = Path(private) / "open.html"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={address}"><title>rsft</title>')
        webbrowser.open(file.as_uri())
        yield


def _has_screen() -> bool:
    """Whether a browser can be seen: one that runs in the terminal would take it from the server."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
