"""Segments that the cluster's machines write: where they see the disk, where they don't, and where one dies over it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from machines import Machines

from rsft.cluster import writing
from rsft.cluster.writing import RayWriter, carried_out
from rsft.errors import RunError
from rsft.machines.connection import connected
from rsft.store import RunFolder, rows
from rsft.store.places import Local, Place, place_at
from rsft.store.writing import Inline, Order, WriterLost, written
from rsft.types import Candidate, CandidateKey

# It takes a cluster.
pytestmark = pytest.mark.alone


@pytest.fixture
def writer(three: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayWriter]:
    """One whose run is a folder of the current one, which is not that in which Ray was started."""
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    with connected(three.address) as ray:
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the machines don't have these tests
        try:
            yield RayWriter(Path("run"))
        finally:
            ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def candidates(count: int) -> list[Candidate]:
    return [
        Candidate(CandidateKey(1, "p", index, "g"), f"reply {index}", (index,), "stop", None, None)
        for index in range(count)
    ]


def orders(place: Place, tables: Callable[[Any], Any] = lambda table: [table]) -> list[Order]:
    table = rows.candidates_table(candidates(50))
    names = [f"candidates/{number:06d}-ab.parquet" for number in range(1, 7)]
    return [Order(place, name, "candidates", "1", tables(table), 50, "candidates") for name in names]


@dataclass(frozen=True)
class Elsewhere:
    """Tables of which whoever reads them, in another process than this one, does something before."""

    table: Any
    does: Callable[[], None]
    here: int

    def __iter__(self) -> Iterator[Any]:
        if os.getpid() != self.here:
            self.does()
        yield self.table


def elsewhere(does: Callable[[], None]) -> Callable[[Any], Elsewhere]:
    return lambda table: Elsewhere(table, does, os.getpid())


def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuses() -> None:
    raise RunError("the disk is full")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_machines_write_what_this_process_would(writer: RayWriter, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Noted:
        table: Any
        at: Path

        def __iter__(self) -> Iterator[Any]:
            (self.at / str(os.getpid())).touch()
            yield self.table

    (tmp_path / "pids").mkdir()
    here, there = Local(tmp_path / "here"), Local(tmp_path / "run")
    made = writer.write(orders(there, lambda table: Noted(table, tmp_path / "pids")))
    assert made == Inline().write(orders(here))
    assert all(there.is_as_written(one.path, one.sha256) for one in made)
    assert str(os.getpid()) not in files(tmp_path / "pids")
    assert not list(Path("run").glob(".written-*"))
    assert writer.write([]) == []


def test_a_machine_that_does_not_see_the_disk_writes_nothing_and_is_not_asked_again(
    writer: RayWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing.Path, "touch", lambda self: None)  # there is no file by which they could see this disk
    place = Local(tmp_path / "run")
    with pytest.raises(WriterLost, match="does not see the disk of the segments"):
        writer.write(orders(place))
    assert not files(tmp_path / "run")
    assert len(writer.write(orders(place, elsewhere(dies)))) == 6, "they are written here from now on"


def test_who_dies_over_a_segment_is_lost_and_the_next_may_write(writer: RayWriter, tmp_path: Path) -> None:
    place = Local(tmp_path / "run")
    with pytest.raises(WriterLost, match="worker died"):
        writer.write(orders(place, elsewhere(dies)))
    assert not [name for name in files(tmp_path / "run") if name.startswith(".written-")]
    assert len(writer.write(orders(place))) == 6


def test_what_a_place_refuses_is_said_as_it_was_there(writer: RayWriter, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^the disk is full$"):
        writer.write(orders(Local(tmp_path / "run"), elsewhere(refuses)))


@pytest.mark.parametrize("what", ["all is well", "nobody sees the disk", "one dies", "no answer comes"])
def test_whoever_writes_the_run_holds_each_candidate_once(
    what: str, writer: RayWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = writer.write

    def fatal(given: Sequence[Order]) -> Any:
        return write([replace(order, tables=Elsewhere(*order.tables, dies, os.getpid())) for order in given])

    with RunFolder.open(Path("run"), write=True) as folder:
        folder.written_by(writer)
        with monkeypatch.context() as patch:
            if what == "nobody sees the disk":
                patch.setattr(writing.Path, "touch", lambda self: None)
            elif what == "one dies":
                patch.setattr(writer, "write", fatal)
            elif what == "no answer comes":
                patch.setattr(writing, "_SECONDS", 0.0)
            folder.commit(candidates=candidates(20))
        folder.commit(candidates=candidates(40)[20:])
    with RunFolder.open(Path("run"), write=True) as folder:
        assert sorted(folder.candidates(), key=lambda one: one.key.sample_index) == candidates(40)
        assert len(files(Path("run/candidates"))) == 2, "what nobody named is removed"


def test_only_who_sees_the_disk_writes_to_it(tmp_path: Path) -> None:
    (order, *_) = orders(Local(tmp_path / "a"))
    assert carried_out(order, str(tmp_path / "none")) is None
    assert not files(tmp_path)
    (tmp_path / "token").touch()
    assert carried_out(order, str(tmp_path / "token")) == written(replace(order, place=Local(tmp_path / "b")))


def test_what_all_reach_needs_no_disk(tmp_path: Path) -> None:
    place = place_at("memory://bucket", "run")
    (order, *_) = orders(place)
    made = carried_out(order, str(tmp_path / "none"))
    assert made is not None
    assert place.is_as_written(made.path, made.sha256)
