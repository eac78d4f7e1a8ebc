"""Disks that fill up, break, or flip bits: a clear error, and a run that goes on to the same end."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runs import elsewhere, in_child, outcome

import rsft
from rsft.engines.scripted import ScriptedEngine
from rsft.errors import RunError
from rsft.loop import run
from rsft.store import RunFolder, files

FAULTS = {"full": errno.ENOSPC, "broken": errno.EIO, "read-only": errno.EROFS}


class Disk:
    """A disk that fails the so-manieth time that something is written, renamed or flushed, and from then on."""

    def __init__(self, fails_at: int, code: int, *, cut: bool) -> None:
        self.left, self.code, self.cut = fails_at, code, cut

    def step(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise OSError(self.code, os.strerror(self.code))

    def put(self, honest: Callable[..., None]) -> Callable[..., None]:
        def put(path: Path, write: Callable[[Path], None], **others: Any) -> None:
            def cut(aside: Path) -> None:
                write(aside)
                if self.left <= 1 and self.cut:  # a part of it was written
                    content = aside.read_bytes()
                    aside.write_bytes(content[: len(content) // 2])
                self.step()

            honest(path, cut, **others)

        return put


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Disk], None]]:
    """Replaces the disk."""
    with monkeypatch.context() as patch:

        def use(disk: Disk) -> None:
            fsync, replace = os.fsync, os.replace
            patch.setattr(files, "put", disk.put(files.put))
            patch.setattr(os, "fsync", lambda file: (disk.step(), fsync(file))[1])
            patch.setattr(os, "replace", lambda old, new: (disk.step(), replace(old, new))[1])

        use.undo = patch.undo  # type: ignore[attr-defined]
        yield use


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", range(4))
def test_a_disk_that_fails_is_a_clear_error_and_loses_nothing(
    recipe: rsft.Recipe, failing: Callable[[Disk], None], fault: str, seed: int
) -> None:
    run(elsewhere("runs/whole"))
    lots = random.Random(f"{fault}{seed}")
    failing(Disk(lots.randint(1, 120), FAULTS[fault], cut=lots.random() < 0.5))
    with pytest.raises(RunError) as caught:
        run(recipe)
    assert os.strerror(FAULTS[fault]) in str(caught.value)
    assert "rsft resume" in str(caught.value)
    failing.undo()  # type: ignore[attr-defined]
    run(recipe)
    assert outcome(recipe.run) == outcome("runs/whole")
    assert not list(Path(recipe.run).rglob("*.part"))


@pytest.mark.parametrize("seed", range(6))
def test_files_that_may_not_grow_are_a_clear_error(recipe: rsft.Recipe, seed: int) -> None:
    """The kernel refuses to write beyond a size: segments, the ledger and its log alike."""
    run(elsewhere("runs/whole"))
    most = random.Random(seed).randint(1_000, 60_000)

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        try:
            run(recipe)
        except RunError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            os._exit(2 if "rsft resume" in str(error) or "ledger" in str(error) else 3)

    assert in_child(limited) == 2, Path("child.error").read_text() if Path("child.error").exists() else most
    run(recipe)
    assert outcome(recipe.run) == outcome("runs/whole")


def segments_of(path: Path) -> list[Path]:
    return sorted(path.glob("*/*.parquet"))


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
@pytest.mark.parametrize("finished", [True, False])
def test_damaged_segments_are_set_aside_and_only_their_rows_are_made_again(
    recipe: rsft.Recipe, monkeypatch: pytest.MonkeyPatch, damage: str, finished: bool
) -> None:
    run(elsewhere("runs/whole"))
    run(recipe)
    path, lots = Path(recipe.run), random.Random(damage)
    if not finished:
        with RunFolder.open(path, write=True) as folder:
            folder.reopen()
    kinds = ("candidates", "scores", "decisions", "prompts")
    victims = [lots.choice(sorted((path / kind).glob("*.parquet"))) for kind in kinds]
    with RunFolder.open(path, write=False) as folder:
        lost = next(s.rows for s in folder.ledger.segments() if s.path == str(victims[0].relative_to(path)))
    for victim in victims:
        content = bytearray(victim.read_bytes())
        content[lots.randrange(len(content))] ^= 1 << lots.randrange(8)
        victim.unlink()
        if damage != "gone":
            victim.write_bytes(
                {"flip": content, "cut": content[: lots.randrange(1, len(content))], "empty": b""}[damage]
            )
    with RunFolder.open(path, write=True) as folder:
        kept = folder.candidate_keys()
    drawn: list[Any] = []
    honest = ScriptedEngine.sample

    def counting(self: ScriptedEngine, policy: Any, requests: Any, *others: Any) -> Any:
        drawn.extend(requests)
        return honest(self, policy, requests, *others)

    monkeypatch.setattr(ScriptedEngine, "sample", counting)
    run(recipe)
    said, expected = outcome(path), outcome("runs/whole")
    events = [event for event in said.pop("events") if event["kind"] == "segment_damaged"]
    assert {event["path"] for event in events} == {str(victim.relative_to(path)) for victim in victims}
    assert said == {key: value for key, value in expected.items() if key != "events"}
    assert len(drawn) >= lost
    assert {request.key for request in drawn}.isdisjoint(kept), "what was damaged is drawn again, and nothing else"
    assert len(list((path / "damaged").glob("*"))) == (0 if damage == "gone" else 4)
