"""A real S3-like server (moto's) in a process of its own, which fails now and then if it is told to, and tells what it
was asked. Run as a program it serves; `S3Server` starts it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

BUCKET = "bucket"
_CONTROL = "/--control--"


@dataclass(frozen=True, slots=True)
class S3Server:
    """A server with one bucket."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to know."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "canary-of-an-id",
            "AWS_SECRET_ACCESS_KEY": "canary-of-a-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            # Its library tries again by itself; here it is rsft that has to.
            "AWS_MAX_ATTEMPTS": "1",
        }

    def fail(self, share: float, seed: int = 0) -> None:
        """From now on this share of what is asked fails, in one way or another."""
        self._control({"share": share, "seed": seed})

    def asked(self) -> list[dict[str, Any]]:
        """What it was asked since the last time: method, path, status and the bytes of the answer."""
        return list(self._control({}))

    def _control(self, said: dict[str, Any]) -> Any:
        request = urllib.request.Request(self.url + _CONTROL, json.dumps(said).encode(), method="POST")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[S3Server]:
        with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                server = cls(process.stdout.readline().strip())
                urllib.request.urlopen(urllib.request.Request(f"{server.url}/{BUCKET}", method="PUT")).close()
                look_again()
                yield server
            finally:
                look_again()
                process.kill()


def look_again() -> None:
    """Have the storage's library look at the environment again: what it opened of a server before, it keeps for all."""
    import fsspec

    fsspec.get_filesystem_class("s3").clear_instance_cache()


class Faulty:
    """A WSGI application before another one: it answers badly in its place, cuts its answers, or says that what it did
    has failed."""

    def __init__(self, honest: Callable[..., Iterable[bytes]]) -> None:
        self.honest = honest
        self.share, self.lots = 0.0, random.Random(0)
        self.asked: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == _CONTROL:
            return self._controlled(environ, start)
        with self.lock:
            fault = self.lots.choice(["busy", "broken", "cut", "after"]) if self.lots.random() < self.share else None
        if fault and environ["REQUEST_METHOD"] in ("PUT", "HEAD"):
            fault = "after"  # what was sent is read, or the client would not hear the answer; and nothing can be cut
        if fault == "busy":
            return self._answered(environ, start, "503 Slow Down", b"<Error><Code>SlowDown</Code></Error>")
        if fault == "broken":
            return self._answered(environ, start, "500 Internal", b"<Error><Code>InternalError</Code></Error>")
        said: list[Any] = []
        body = b"".join(self.honest(environ, lambda status, headers, *_: said.extend([status, headers])))
        status, headers = said
        if fault == "after":
            return self._answered(environ, start, "500 Internal", b"<Error><Code>InternalError</Code></Error>")
        if fault == "cut":  # what it declares stays as it was
            body = body[: len(body) // 2]
        self._note(environ, status, body)
        start(status, headers)
        return [body]

    def _answered(self, environ: dict[str, Any], start: Callable[..., Any], status: str, body: bytes) -> list[bytes]:
        self._note(environ, status, body)
        start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]

    def _note(self, environ: dict[str, Any], status: str, body: bytes) -> None:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with self.lock:
            self.asked.append({"method": method, "path": path, "status": status[:3], "bytes": len(body)})

    def _controlled(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        said = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        with self.lock:
            if said:
                self.share, self.lots = said["share"], random.Random(said["seed"])
                asked = []
            else:
                asked, self.asked = self.asked, []
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(asked).encode()]


def serve() -> None:  # pragma: no cover
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_: Any) -> None:
            pass

    application = Faulty(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve()
