"""A server whose chat model judges as a test wants it to."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_FIELD = re.compile(r"^<<<data ([0-9a-f]{16})\n(.*)\n>>>end \1$", re.M)


def data_in(body: Mapping[str, Any]) -> dict[str, Any]:
    """The data that a judge was shown. There is one field, and it ends where it says so."""
    (turn,) = body["messages"]
    ((_, field),) = _FIELD.findall(turn["content"])
    said = json.loads(field)
    assert isinstance(said, dict)
    return said


def best(body: Mapping[str, Any]) -> dict[str, Any]:
    """The best verdict that the question allows, whatever the reply: a judge that is fully fooled. Of two replies, the
    one that is not the reference ("REF")."""
    text = body["messages"][0]["content"]
    if '- "score":' in text:
        return {"explanation": "Perfect.", "score": 10}
    if '- "better":' in text:
        return {"explanation": "Clearly.", "better": "B" if data_in(body)["A"] == "REF" else "A"}
    keys = re.findall(r'^- "(q\d+)":', text, re.M)
    return {key: {"explanation": "Sure.", "answer": "yes"} for key in keys}


class FakeJudge:
    """Answers what `says` makes of a request's body: a text, or an object as JSON. `refuses` gives the message of a
    status 400, for bodies that it will not take."""

    def __init__(self) -> None:
        self.says: Callable[[Mapping[str, Any]], Any] = best
        self.refuses: Callable[[Mapping[str, Any]], str | None] = lambda body: None
        self.bodies: list[dict[str, Any]] = []
        self.url = ""
        self._turns = threading.Lock()

    def spec(self, **options: Any) -> dict[str, Any]:
        """A recipe's words for a judge behind this server."""
        return {"server": {"url": self.url, "model": "fake-judge", "attempts": 1}, **options}

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self._turns:
            self.bodies.append(body)
        if problem := self.refuses(body):
            return 400, {"error": {"message": problem, "type": "invalid_request_error"}}
        said = self.says(body)
        text = said if isinstance(said, str) else json.dumps(said)
        return 200, {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20},
        }


@contextmanager
def serving(judge: FakeJudge) -> Iterator[FakeJudge]:
    """The judge, behind a port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, said = judge.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            whole = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole)

        def log_message(self, *_: Any) -> None:
            pass

    class Door(ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = True

    server = Door(("127.0.0.1", 0), Handler)
    judge.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield judge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
