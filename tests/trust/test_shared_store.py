"""Whole runs whose segments lie on shared storage or in an object store: they come to what others come to, whatever
fails, whoever writes, and beside whichever other run."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
from runs import acknowledged, elsewhere, in_child, killed_at, make_recipe, outcome

from rsft import stages
from rsft.errors import RunError, UserError
from rsft.exporting import Wanted, export
from rsft.keeping import Keeping
from rsft.loop import run
from rsft.reading import Filter, decided_candidates, status
from rsft.report.write import write_report
from rsft.reselection import reselect
from rsft.store import RunFolder, remote, segments
from rsft.store.ledger import Segment
from rsft.store.places import Place
from rsft.store.whereabouts import SHARED_KINDS
from rsft.store.writing import Order, WriterLost, written
from s3_server import BUCKET, S3Server


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server.started() as server:
        yield server


@pytest.fixture(scope="module")
def whole(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a run comes to that keeps its segments in its folder. The tests work in one folder."""
    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("shared"))
    make_recipe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Keeping.__init__.__kwdefaults__, "at_once", 24)
        patch.setitem(Keeping.__init__.__kwdefaults__, "seconds", 0.0)
        patch.setattr(remote, "_FIRST_WAIT_SECONDS", 0.001)
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        run(elsewhere("runs/whole"))
        yield outcome("runs/whole")
    os.chdir(here)


def url(scheme: str) -> str:
    return {"file": Path("shared").absolute().as_uri(), "memory": "memory://shared", "s3": f"s3://{BUCKET}/shared"}[
        scheme
    ]


def keeping(name: str, scheme: str) -> Any:
    return elsewhere(f"runs/{name}", f"store.segments={url(scheme)}")


def place_of(name: str) -> Place:
    with RunFolder.open(Path("runs") / name, write=False) as folder:
        return folder._places.of("candidates")


def named(name: str) -> set[str]:
    with RunFolder.open(Path("runs") / name, write=False) as folder:
        return {segment.path for segment in folder.ledger.segments() if segment.kind in SHARED_KINDS}


def there(name: str) -> set[str]:
    return {found for kind in SHARED_KINDS for found in place_of(name).names(kind)}


@pytest.mark.parametrize("scheme", ["file", "memory", "s3"])
def test_a_run_comes_to_the_same_wherever_its_segments_lie(scheme: str, whole: dict[str, Any]) -> None:
    recipe = keeping(scheme, scheme)
    run(recipe)
    folder = Path("runs") / scheme
    assert outcome(folder) == whole
    assert there(scheme) == named(scheme) != set()
    assert [path.parent.name for path in folder.rglob("*.parquet")] == ["prompts"], "nothing else lies in the folder"
    before = named(scheme)
    run(recipe)
    assert named(scheme) == before, "a finished run is left alone"
    assert b"canary" not in (folder / "ledger.sqlite").read_bytes()
    # Whoever reads it needs neither recipe nor option, also where it was moved to.
    moved = Path("moved") / scheme
    shutil.copytree(folder, moved)
    assert outcome(moved) == whole
    assert status(moved)["finished"]
    assert len(decided_candidates(moved, Filter(limit=1000))) == len(whole["decisions"]["policy"])
    assert export(moved, Path("out") / scheme, Wanted(model="none", iteration=2))
    assert write_report(moved, moved / "report.html")
    reselect(moved, ["selection=[polite >= 1, words >= 5]"], "strict")
    with RunFolder.open(moved, write=False) as read:
        assert "strict" in read.selections()


def test_of_two_copies_one_writes(whole: dict[str, Any]) -> None:
    run(keeping("original", "s3"))
    shutil.copytree("runs/original", "runs/copy")
    reselect(Path("runs/original"), ["selection=[polite >= 1]"], "more")
    before = there("original")
    with pytest.raises(RunError, match="Another copy of the run folder"):
        reselect(Path("runs/copy"), ["selection=[polite >= 1]"], "more")
    assert there("original") == before
    assert outcome("runs/copy") == whole, "it can be read all the same"
    assert run(keeping("original", "s3"))["finished"]


def test_a_store_that_is_not_there_is_not_taken_for_damage(whole: dict[str, Any]) -> None:
    recipe = keeping("unmounted", "file")
    run(recipe)
    Path("shared").rename("shared-away")
    Path("shared").mkdir()
    with pytest.raises(RunError, match=r"holds nothing of this run.*rsft resume"):
        run(recipe)
    Path("shared").rmdir()
    Path("shared-away").rename("shared")
    run(recipe)
    assert outcome(recipe.run) == whole


def test_a_store_that_cant_be_written_ends_a_run_before_anything_is_drawn(whole: dict[str, Any]) -> None:
    Path("occupied").write_text("no folder")
    for where in (f"s3://no-such-bucket/{BUCKET}", (Path("occupied") / "x").absolute().as_uri()):
        with pytest.raises(UserError, match="can't be written"):
            run(elsewhere("runs/nowhere", f"store.segments={where}"))
        with RunFolder.open(Path("runs/nowhere"), write=False) as folder:
            assert not folder.ledger.segments()
            assert not folder.stages()
        shutil.rmtree("runs/nowhere")


KILLED_AT = (
    "store.noted",
    "store.marked",
    "candidates.written",
    "candidates.renamed",
    "scores.renamed",
    "scores.committed",
    "decisions.renamed",
)


@pytest.mark.parametrize(
    ("scheme", "point"), [*(("s3", point) for point in KILLED_AT), ("file", "store.noted"), ("file", "scores.renamed")]
)
def test_killed_it_loses_nothing_and_clears_up(scheme: str, point: str, whole: dict[str, Any]) -> None:
    name = f"{scheme}-{point}"
    recipe, lots = keeping(name, scheme), random.Random(point)
    times = 1 if point.startswith("store") else lots.randint(1, 3)
    assert in_child(lambda: run(recipe), killed_at(point, times)) == -signal.SIGKILL
    before = acknowledged(recipe.run)
    assert in_child(lambda: run(recipe), killed_at("candidates.renamed", 2)) == -signal.SIGKILL
    assert before <= acknowledged(recipe.run)
    run(recipe)
    assert outcome(recipe.run) == whole
    assert there(name) == named(name), "no orphan is left"


def test_two_runs_side_by_side_do_not_touch_each_other(whole: dict[str, Any]) -> None:
    one, other = (elsewhere(f"{place}/run", f"store.segments={url('s3')}") for place in ("a", "b"))
    assert in_child(lambda: run(one), killed_at("candidates.renamed", 2)) == -signal.SIGKILL
    run(other)
    run(one)
    run(other)
    assert outcome(one.run) == outcome(other.run) == whole


def test_a_store_that_fails_now_and_then_changes_nothing(s3: S3Server, whole: dict[str, Any]) -> None:
    s3.asked()
    s3.fail(0.04, 1)
    try:
        run(keeping("faulty", "s3"))
    finally:
        s3.fail(0)
    assert sum(one["status"].startswith("5") for one in s3.asked()) > 10
    assert outcome("runs/faulty") == whole


def test_a_store_that_goes_away_stops_the_run_which_goes_on_later(s3: S3Server, whole: dict[str, Any]) -> None:
    recipe = keeping("gone", "s3")
    assert in_child(lambda: run(recipe), killed_at("candidates.committed", 2)) == -signal.SIGKILL
    s3.fail(1)
    try:
        with pytest.raises(RunError, match="rsft resume") as caught:
            run(recipe)
    finally:
        s3.fail(0)
    assert "canary" not in str(caught.value)
    run(recipe)
    assert outcome(recipe.run) == whole


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_object_is_set_aside_and_only_its_rows_are_made_again(damage: str, whole: dict[str, Any]) -> None:
    name = f"damaged-{damage}"
    recipe = keeping(name, "memory")
    run(recipe)
    place = place_of(name)
    victims = [next(iter(place.names(kind))) for kind in SHARED_KINDS]
    for victim in victims:
        content = bytearray(place.source(victim, small=True).read())
        content[len(content) // 2] ^= 4
        place.remove(victim)
        if damage != "gone":
            wanted = bytes(content if damage == "flip" else content[:40])
            place.put(victim, lambda aside, said=wanted: aside.write_bytes(said), before=lambda: None)  # type: ignore[misc]
    run(recipe)
    said = outcome(recipe.run)
    events = said.pop("events")
    assert {event["path"] for event in events if event["kind"] == "segment_damaged"} == set(victims)
    assert said == {key: value for key, value in whole.items() if key != "events"}
    assert len(list(Path(recipe.run, "damaged").glob("*"))) == (0 if damage == "gone" else 3)


class Workers:
    """Another process writes; it dies before, in the middle of, or after its work."""

    DIES = {1: "begun", 3: "written", 5: "renamed"}  # noqa: RUF012

    def __init__(self) -> None:
        self.lost = self.wrote = 0
        self.start()

    def start(self) -> None:
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def write(self, orders: Sequence[Order]) -> Sequence[Segment]:
        if not orders:
            return []
        fate = self.DIES.get(self.lost + self.wrote, "")
        try:
            made = [self.pool.submit(work, order, fate) for order in orders]
            said = [one.result() for one in made]
        except BrokenProcessPool:
            self.lost += 1
            self.pool.shutdown()
            self.start()
            raise WriterLost from None
        self.wrote += 1
        return said


def work(order: Order, fate: str) -> Segment:
    if fate == "begun":
        os.kill(os.getpid(), signal.SIGKILL)
    if fate:
        os.environ["RSFT_FAILPOINT"] = f"{order.event}.{fate}"
    return written(order)


def test_others_write_and_die(whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    workers, name = Workers(), "workers"
    monkeypatch.setattr(segments, "MERGED_AT_ONCE", 4)
    monkeypatch.setattr(segments, "_SMALL_ROWS", (60, 600))
    note = stages.note_surroundings
    monkeypatch.setattr(stages, "note_surroundings", lambda folder: (note(folder), folder.written_by(workers)))
    run(keeping(name, "s3"))
    workers.pool.shutdown()
    assert outcome(f"runs/{name}") == whole
    assert workers.wrote > 3
    assert workers.lost == 3
    assert named(name) < there(name), "what a lost one wrote is no part of the run"
    with RunFolder.open(Path("runs") / name, write=True):
        pass
    assert there(name) == named(name)
