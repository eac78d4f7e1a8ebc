"""Small segments become large ones: the same rows in the same order, whatever the crash; no key is there twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_store_run_folder import candidate, key, score_row

from rsft import failpoints
from rsft.errors import RunError, StoreError
from rsft.store import RunFolder, ScoreRow, claims, segments, writing
from rsft.types import Candidate, Decision, Score

POINTS = ("merge.written", "merge.renamed", "merge.committed", "merge.cleared")
COMMITS = 9


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four segments are many; a group has three rows; what has eight is not small, and what has 24 is large."""
    monkeypatch.setattr(segments, "MERGED_AT_ONCE", 4)
    monkeypatch.setattr(segments, "GROUP_ROWS", 3)
    monkeypatch.setattr(writing, "GROUP_ROWS", 3)
    monkeypatch.setattr(segments, "_SMALL_ROWS", (8, 24))


def write(path: Path, commits: range = range(COMMITS)) -> None:
    """What is not there of these commits, of two candidates with a score each."""
    with RunFolder.open(path, write=True) as folder:
        for number in commits:
            # Not in the order of keys, so that an order that is kept is no accident.
            some = (2 * number + 1, 2 * number)
            there = folder.candidate_keys()
            owed = [candidate(i, f"reply {i}") for i in some if key(i) not in there]
            folder.commit(candidates=owed, scores=[score_row(i, i / 7) for i in some], known_scores="skip")


def order(path: Path, kind: str = "candidates") -> list[int]:
    """The sample indices in the order in which the rows lie."""
    with RunFolder.open(path, write=False) as folder:
        return [i for table in folder.tables(kind, "1", ["sample_index"]) for i in table["sample_index"].to_pylist()]


def in_child(path: Path, point: str, times: int) -> int:
    child = os.fork()
    if child == 0:  # pragma: no cover
        reached = 0

        def die(name: str) -> None:
            nonlocal reached
            reached += name == point
            if name == point and reached == times:
                os.kill(os.getpid(), signal.SIGKILL)

        with failpoints.listening(die):
            write(path)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def expected() -> list[int]:
    return [i for number in range(COMMITS) for i in (2 * number + 1, 2 * number)]


def test_small_segments_become_one_in_their_order(tmp_path: Path) -> None:
    write(tmp_path)
    with RunFolder.open(tmp_path, write=False) as folder:
        found = folder.ledger.segments("candidates")
        assert [segment.rows for segment in found] == [8, 8, 2]
        assert folder.candidates() == [candidate(i, f"reply {i}") for i in range(2 * COMMITS)]
        assert folder.scores() == {key(i): {"facts": Score(i / 7, "why")} for i in range(2 * COMMITS)}
        assert folder.is_whole
        on_disk = {str(p.relative_to(folder.path)) for p in folder.path.glob("*/*")}
        assert on_disk == {segment.path for segment in folder.ledger.segments()}, "the parts are gone"
    assert order(tmp_path) == order(tmp_path, "scores") == expected()


def test_there_are_few_segments_whatever_the_size_of_commits(tmp_path: Path) -> None:
    write(tmp_path, range(40))
    with RunFolder.open(tmp_path, write=False) as folder:
        sizes = [segment.rows for segment in folder.ledger.segments("candidates")]
    assert sizes == [32, 32, 8, 8]
    assert order(tmp_path) == [i for number in range(40) for i in (2 * number + 1, 2 * number)]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_killed_at_any_point_of_a_merge_it_goes_on_to_the_same_end(tmp_path: Path, point: str, times: int) -> None:
    assert in_child(tmp_path, point, times) == -signal.SIGKILL
    before = order(tmp_path)
    assert before == expected()[: len(before)], "a reader finds every row once"
    write(tmp_path)
    assert order(tmp_path) == order(tmp_path, "scores") == expected()
    with RunFolder.open(tmp_path, write=False) as folder:
        on_disk = {str(p.relative_to(folder.path)) for p in folder.path.glob("*/*")}
        assert on_disk == {segment.path for segment in folder.ledger.segments()}, "no orphan, no part left"
        assert not folder.ledger.events(), "nothing was taken for damaged"


def test_a_damaged_part_is_not_merged_but_found_by_the_next_writer(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    victim = sorted((tmp_path / "candidates").glob("*.parquet"))[1]
    with RunFolder.open(tmp_path, write=True) as folder:
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 4
        victim.write_bytes(content)
        folder.commit(candidates=[candidate(6), candidate(7)])
        assert len(folder.ledger.segments("candidates")) == 4
    with RunFolder.open(tmp_path, write=True) as folder:
        assert folder.candidate_keys() == {key(i) for i in (0, 1, 4, 5, 6, 7)}
        (event,) = folder.ledger.events()
        assert (event["kind"], event["rows"]) == ("segment_damaged", 2)


def test_a_disk_that_is_full_when_it_merges_loses_nothing(tmp_path: Path) -> None:
    def full(point: str) -> None:
        if point == "merge.written":
            raise OSError(28, "No space left on device")

    write(tmp_path, range(3))
    with RunFolder.open(tmp_path, write=True) as folder:
        with failpoints.listening(full), pytest.raises(RunError, match=r"No space left on device.*rsft resume"):
            folder.commit(candidates=[candidate(7), candidate(6)], scores=[score_row(7, 1.0), score_row(6, 6 / 7)])
        with pytest.raises(StoreError, match="already"):
            folder.commit(candidates=[candidate(7)])
        with pytest.raises(StoreError, match="already"):
            folder.commit(scores=[score_row(7)])
    assert order(tmp_path) == expected()[:8]
    write(tmp_path)
    assert order(tmp_path) == expected()


def test_reading_goes_on_while_a_writer_merges(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    with RunFolder.open(tmp_path, write=False) as reader:
        tables = reader.tables("candidates", "1", ["sample_index"])
        read = [next(tables), next(tables)]
        write(tmp_path, range(3, 6))
        assert len(reader.ledger.segments("candidates")) == 3, "one of four, and two more"
        read += tables
    assert [i for table in read for i in table["sample_index"].to_pylist()] == expected()[:12]


@pytest.mark.parametrize("again", [0, 5, 11])
@pytest.mark.parametrize("sessions", [1, 2])
def test_a_key_that_was_merged_is_refused(tmp_path: Path, again: int, sessions: int) -> None:
    write(tmp_path, range(6 if sessions == 1 else 3))
    write(tmp_path, range(6))
    with RunFolder.open(tmp_path, write=True) as folder:
        for _ in range(2):
            with pytest.raises(StoreError, match="already"):
                folder.commit(candidates=[candidate(90), candidate(again, "another")])
            with pytest.raises(StoreError, match="already"):
                folder.commit(scores=[score_row(again, 0.5)])
        count = folder.count("scores")
        folder.commit(scores=[score_row(again, 0.5), score_row(91)], known_scores="skip")
        assert folder.count("scores") == count + 1
        folder.commit(candidates=[candidate(90)])
        with pytest.raises(StoreError, match="already"):
            folder.commit(candidates=[candidate(90)])
        folder.commit(candidates=[candidate(again, iteration=2), candidate(again, prompt_id="q")])
        with pytest.raises(StoreError, match="already"):
            folder.commit(candidates=[candidate(again)])


def test_a_failed_score_is_made_good_once(tmp_path: Path) -> None:
    failed = ScoreRow(key(0), "facts", "f1", Score.failed("the server is away"))
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.commit(scores=[failed])
    with RunFolder.open(tmp_path, write=True) as folder:
        with pytest.raises(StoreError, match="already"):
            folder.commit(scores=[failed])
        folder.commit(scores=[failed, score_row(0)], known_scores="skip")
        folder.commit(scores=[failed, score_row(0)], known_scores="skip")
        assert folder.count("scores") == 2
        assert folder.scores()[key(0)]["facts"] == Score(1.0, "why")


def test_keys_with_one_hash_are_not_taken_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = claims._marks

    def all_the_same(kind: str, table: object, **said: bool) -> claims.Marks:
        marks = honest(kind, table, **said)
        return claims.Marks(marks.hash_N * 0, marks.bit_N * 0 + 1)

    monkeypatch.setattr(claims, "_marks", all_the_same)
    write(tmp_path)
    assert order(tmp_path) == order(tmp_path, "scores") == expected()
    with RunFolder.open(tmp_path, write=True) as folder:
        with pytest.raises(StoreError, match="already"):
            folder.commit(candidates=[candidate(3)])
        with pytest.raises(StoreError, match="already"):
            folder.commit(candidates=[candidate(30), candidate(30)])
        folder.commit(scores=[score_row(3), score_row(30)], known_scores="skip")
        assert folder.count("scores") == 2 * COMMITS + 1


def test_decisions_are_kept_one_by_one(tmp_path: Path) -> None:
    keys = [key(i, iteration=iteration) for iteration in (1, 2) for i in range(7)]
    decided = {one: Decision(one.sample_index % 2 == 0, "a rule") for one in keys}

    def breaks() -> Iterator[tuple[object, Decision]]:
        yield from list(decided.items())[:9]
        raise KeyError

    with RunFolder.open(tmp_path, write=True) as folder:
        with pytest.raises(KeyError):
            folder.decide("policy", breaks())  # type: ignore[arg-type]
        assert folder.decisions("policy") == {}
        folder.decide("policy", iter(decided.items()))
        assert folder.decisions("policy") == decided
        assert folder.decided_iterations("policy") == [1, 2]
        with pytest.raises(StoreError, match="already"):
            folder.decide("policy", iter(decided.items()))
    with RunFolder.open(tmp_path, write=True) as folder:
        assert folder.decisions("policy") == decided
        assert len(list((tmp_path / "decisions").glob("*"))) == 2


def test_only_wanted_rows_are_read(tmp_path: Path) -> None:
    prompts = [f"p{number}" for number in range(5)]
    replies = [candidate(i, f"{p} {i}", p) for p in prompts for i in range(3)]
    other = Candidate(key(0, "p1").__class__(1, "p1", 0, "another"), "", (), "failed", 0.0, 0.0, "no room")
    with RunFolder.open(tmp_path, write=True) as folder:
        for start in range(0, len(replies), 2):
            folder.commit(candidates=replies[start : start + 2])
        folder.commit(candidates=[other])
        wanted = [c for c in replies if c.key.prompt_id in ("p1", "p4")]
        assert folder.candidates(iteration=1, prompt_ids=["p1", "p4", "p99"], generators=["g"]) == wanted
        assert folder.candidates(iteration=1, generators=["another"]) == [other]
        assert folder.candidates(iteration=1, prompt_ids=[]) == []
