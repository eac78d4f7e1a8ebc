"""Room on the machines of a cluster: what is asked for, who has it, and what is said of those who wait."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rsft.machines import room
from rsft.machines.room import Waiting, bundle_of, fits, in_words


def machine(cpus: float = 0, gpus: float = 0, *, alive: bool = True, **more: float) -> dict[str, Any]:
    return {"Alive": alive, "NodeID": "n", "Resources": {"CPU": cpus, **({"GPU": gpus} if gpus else {}), **more}}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time, which passes only when it is told to."""
    at = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(room.time, "monotonic", lambda: at.now)
    return at


def test_a_machine_fits_if_it_is_alive_and_has_enough() -> None:
    asked = {"CPU": 4.0, "GPU": 2.0}
    assert fits(machine(4, 2), asked)
    assert not fits(machine(3, 2), asked)
    assert not fits(machine(4), asked)
    assert not fits(machine(4, 2, alive=False), asked)
    assert fits(machine(0, a100=1), {"a100": 0.5})


def test_what_an_actor_takes_is_told_in_words() -> None:
    asked = bundle_of({"num_cpus": 4, "num_gpus": 1, "memory": 3 * 2**29, "resources": {"a100": 0.5}, "name": "x"})
    assert asked == {"CPU": 4, "GPU": 1, "memory": 3 * 2**29, "a100": 0.5}
    assert in_words(asked) == "4 CPUs, 1 GPU, 1.5 GiB of memory, 0.5 a100"
    assert in_words(bundle_of({"num_cpus": 0, "num_gpus": 0})) == "nothing"


def test_who_waits_says_so_now_and_then(clock: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    ray = SimpleNamespace(nodes=lambda: [machine(8, 1), machine(8), machine(8, 1, alive=False)])
    waiting = Waiting(ray, {"CPU": 4, "GPU": 1})
    said = []
    for _ in range(100):
        waiting.look("2 of 3 workers have")
        said.append(len(caplog.messages))
        clock.now += 1
    assert (said[29], said[30], said[60], said[99]) == (0, 1, 2, 3)
    assert caplog.messages[0] == ("2 of 3 workers have not come yet (4 CPUs, 1 GPU each; 1 of 2 machines have that)")
    waiting.look(None)  # they have come
    waiting.look("1 of 3 workers have")  # and another one goes
    clock.now += 29
    waiting.look("1 of 3 workers have")
    assert len(caplog.messages) == 3
