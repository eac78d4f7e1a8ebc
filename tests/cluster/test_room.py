"""Room on the machines of a cluster: what is asked for, who has it, and what is said of those who wait."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from rsft.errors import RunError
from rsft.machines import census, room
from rsft.machines.room import Waiting, bundle_of, fits, in_words


def machine(cpus: float = 0, gpus: float = 0, *, alive: bool = True, **more: float) -> dict[str, Any]:
    return {"Alive": alive, "NodeID": "another", "Resources": {"CPU": cpus, **({"GPU": gpus} if gpus else {}), **more}}


def cluster(nodes: list[Any]) -> Any:
    """Ray, on a machine of its own on which nothing works."""
    here = SimpleNamespace(get_node_id=lambda: "own")
    return SimpleNamespace(nodes=lambda: nodes, get_runtime_context=lambda: here)


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
    ray = cluster([machine(8, 1), machine(8), machine(8, 1, alive=False)])
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


Knowing = Callable[..., Waiting]
GPU = {"CPU": 1, "GPU": 1}


@pytest.fixture
def knowing(monkeypatch: pytest.MonkeyPatch) -> Knowing:
    """One who waits for a GPU on a cluster of which Ray knows this."""

    def of(nodes: list[Any], had: list[Any] | None, autoscales: bool | None, section: str | None = "x.y") -> Waiting:
        monkeypatch.setattr(census, "free", lambda ray: None)
        monkeypatch.setattr(census, "had", lambda ray: had)
        monkeypatch.setattr(census, "autoscales", lambda ray: autoscales)
        return Waiting(cluster(nodes), GPU, section)

    return of


def wait(waiting: Waiting, clock: SimpleNamespace, minutes: float) -> None:
    end = clock.now + 60 * minutes
    while clock.now < end:
        waiting.look("2 of 3 workers have")
        clock.now += 5


def test_where_there_will_never_be_room_it_ends_and_says_what_there_is(
    clock: SimpleNamespace, knowing: Knowing, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = [machine(8, memory=2**34), machine(8, memory=2**34), machine(4, a100=1), machine(8, 8, alive=False)]
    waiting = knowing(nodes, [{"CPU": 8}, {"CPU": 8}, {"CPU": 4}, {}], False)
    wait(waiting, clock, 9.9)
    assert "others are waited for, 10 minutes for each" in caplog.messages[0]
    with pytest.raises(RunError) as ended:
        wait(waiting, clock, 1)
    said = str(ended.value)
    assert "2 of 3 workers have not come, and never will: each takes 1 CPU, 1 GPU on one machine" in said
    assert "There are 2 x (8 CPUs, 16 GiB of memory) and 1 x (4 CPUs, 1 a100)" in said
    assert "x.y: gpus" in said
    assert "rsft resume" in said


def test_as_long_as_machines_come_one_waits_for_the_next(clock: SimpleNamespace, knowing: Knowing) -> None:
    nodes = [machine(8)]
    waiting = knowing(nodes, [{"CPU": 8}], False)
    for _ in range(4):
        wait(waiting, clock, 8)
        nodes.append(machine(8))
    with pytest.raises(RunError, match=r"There are 5 x \(8 CPUs\)"):
        wait(waiting, clock, 11)


@pytest.mark.parametrize(
    ("had", "autoscales", "told"),
    [
        ([{"CPU": 8}], True, "the autoscaler is asked for one"),
        ([{"CPU": 8}], None, "an autoscaler may start one"),
        ([{"CPU": 8}, {"CPU": 8, "GPU": 1}], False, "one that is dead had it"),
        (None, False, "0 of 1 machines have that)"),
    ],
)
def test_where_there_may_be_room_one_goes_on_waiting_and_says_why(
    had: Any, autoscales: bool | None, told: str, clock: SimpleNamespace, knowing: Knowing, caplog: Any
) -> None:
    waiting = knowing([machine(8)], had, autoscales)
    wait(waiting, clock, 60)
    assert told in caplog.messages[-1]
    assert len(caplog.messages) == 119


def test_a_machine_that_was_there_and_one_that_is_busy_are_waited_for(clock: SimpleNamespace, knowing: Knowing) -> None:
    nodes = [machine(8), machine(1, 1)]
    waiting = knowing(nodes, [{"CPU": 8}], False)
    wait(waiting, clock, 60)
    nodes[1] = machine(0, alive=False)
    wait(waiting, clock, 60)


@pytest.mark.parametrize(
    ("free", "told"),
    [
        (None, "1 of 2 machines have that)"),
        ([{"CPU": 8, "GPU": 1}], "1 of 2 machines have that)"),
        ([{"CPU": 8}, {"GPU": 1}], "1 of 2 machines have that, and none has it free (other workers of this run count"),
    ],
)
def test_that_all_of_it_is_in_use_is_told(
    free: Any, told: str, clock: SimpleNamespace, knowing: Knowing, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    waiting = knowing([machine(8), machine(8, 1)], None, None)
    monkeypatch.setattr(census, "free", lambda ray: free)
    wait(waiting, clock, 1)
    assert told in caplog.messages[-1]


def test_where_the_own_machine_is_dead_nobody_is_waited_for(clock: SimpleNamespace, knowing: Knowing) -> None:
    own = {"Alive": True, "NodeID": "own", "Resources": {"CPU": 8.0}}
    waiting = knowing([own, machine(8, 1)], None, None)
    wait(waiting, clock, 60)
    own["Alive"] = False
    with pytest.raises(RunError, match=r"not part of its Ray cluster any more.*go on with rsft resume"):
        wait(waiting, clock, 0.2)


def test_who_has_no_section_has_an_end_of_his_own(clock: SimpleNamespace, knowing: Knowing) -> None:
    wait(knowing([machine(8)], [{"CPU": 8}], False, None), clock, 60)
