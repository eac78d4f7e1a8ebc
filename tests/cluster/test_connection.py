"""The connection to a cluster: made once, shared by all that need it, ended by the last of them if it is ours."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from rsft.errors import RunError
from rsft.machines import connection
from rsft.machines.connection import connect, connected, disconnect


class FakeRay(ModuleType):
    """Ray, with a cluster for whoever asks."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.is_there = False
        self.begun = self.ended = 0

    def is_initialized(self) -> bool:
        return self.is_there

    def init(self, address: str, **_: Any) -> None:
        if address == "nowhere":
            raise ConnectionError("nobody answers")
        self.is_there, self.begun = True, self.begun + 1

    def shutdown(self) -> None:
        self.is_there, self.ended = False, self.ended + 1


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    """As in a process that needs no cluster yet."""
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(connection, "_users", 0)
    monkeypatch.setattr(connection, "_is_ours", False)
    return fake


def test_the_last_one_that_needs_it_ends_it(ray: FakeRay) -> None:
    connect("local")
    with connected() as same:
        assert same is ray
        disconnect()
        assert (ray.begun, ray.ended) == (1, 0)
    assert (ray.begun, ray.ended) == (1, 1)
    with connected("local"):
        assert ray.is_there
    assert (ray.begun, ray.ended) == (2, 2)


def test_one_that_others_made_stays_also_after_one_of_ours(ray: FakeRay) -> None:
    with connected("local"):
        pass
    ray.init("others")
    with connected():
        pass
    assert ray.is_there


def test_where_there_is_none_nobody_is_connected(ray: FakeRay) -> None:
    with pytest.raises(RunError, match=r"no Ray cluster at 'nowhere'.*ray start --head"), connected("nowhere"):
        pass
    with connected("local"):
        pass
    assert not ray.is_there


def test_a_head_at_which_nobody_listens_is_not_asked(ray: FakeRay) -> None:
    with pytest.raises(RunError, match=r"no Ray cluster at '127\.0\.0\.1:1'"):
        connect("127.0.0.1:1")
    assert not ray.begun
