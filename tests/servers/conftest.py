"""A server that fails on purpose, and waits that are short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faulty import Faulty

from rsft.servers import Endpoint, Server, Spending, asking, limits


@pytest.fixture
def fault_server() -> Iterator[Callable[..., Faulty]]:
    """Starts fault servers, as `Faulty.start` does, and stops them."""
    started: list[Faulty] = []

    def start(*words: object) -> Faulty:
        started.append(Faulty.start(*words))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def server_at() -> Iterator[Callable[..., Server]]:
    """Makes a Server that spends on an account of its own; further options are the endpoint's, or the server's own."""
    made: list[Server] = []

    def make(url: str, **options: Any) -> Server:
        own = {name: options.pop(name) for name in ("key", "first", "revive", "spending") if name in options}
        own.setdefault("spending", Spending())
        made.append(Server(Endpoint(url=url, model="fake", **options), **own))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long before asking again."""
    monkeypatch.setattr(limits, "_FIRST_WAIT", 0.005)
    monkeypatch.setattr(limits, "_LONGEST_WAIT", 0.05)
    monkeypatch.setattr(asking, "_AWAY_SECONDS", 0.05)
