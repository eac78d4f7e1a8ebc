"""A server that answers as a test says, in a thread of this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """One request."""

    path: str
    body: Any
    headers: dict[str, str]


Answer = Callable[[Asked], tuple[int, Any]]
"""What is said to a request: a status, and an object that goes out as JSON, or bytes that go out as they are."""


class Answering:
    """The server's address, and all that it was asked."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.url = self.address + "/v1"
        self.asked: list[Asked] = []

    def bodies(self, path: str) -> list[Any]:
        return [one.body for one in self.asked if one.path == path]


@contextmanager
def answering(answer: Answer) -> Iterator[Answering]:
    """A server on a port of its own, for as long as the block lasts. It closes each connection behind its answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: Any) -> None:
            asked = Asked(self.path, body, {name.lower(): said for name, said in self.headers.items()})
            told.asked.append(asked)
            status, said = answer(asked)
            whole = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/event-stream" if isinstance(said, bytes) else "application/json")
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        told = Answering(server.server_port)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()
