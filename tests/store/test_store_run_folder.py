"""The run folder: what went in comes out, whatever the crash or the disk does; nothing twice, nothing lost."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsft.errors import RunError, StoreError
from rsft.store import RunFolder, ScoreRow
from rsft.types import Candidate, CandidateKey, Decision, Message, Prompt, Score


def key(index: int, prompt_id: str = "p", iteration: int = 1) -> CandidateKey:
    return CandidateKey(iteration, prompt_id, index, "g")


def candidate(index: int, text: str = "hello", prompt_id: str = "p", iteration: int = 1) -> Candidate:
    return Candidate(key(index, prompt_id, iteration), text, (1, 2, 3), "stop", -1.5, -2.5)


def score_row(index: int, value: float = 1.0) -> ScoreRow:
    return ScoreRow(key(index), "facts", "f1", Score(value, "why"))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=TEXT,
    prompt_id=TEXT,
    ids=st.lists(st.integers(0, 2**31 - 1), max_size=5),
    value=st.floats(allow_nan=False, allow_infinity=False),
    explanation=TEXT,
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    text: str,
    prompt_id: str,
    ids: list[int],
    value: float,
    explanation: str,
) -> None:
    said = Candidate(key(0, prompt_id), text, tuple(ids), "stop", value, -value)
    failed = Candidate(key(1, prompt_id), "", (), "failed", 0.0, 0.0, "no room")
    scores = [
        ScoreRow(said.key, "facts", "f", Score(value, explanation)),
        ScoreRow(failed.key, "facts", "f", Score.failed("no reply")),
    ]
    decided = {said.key: Decision(True, "accepted"), failed.key: Decision(False, "finished", explanation)}
    prompt = Prompt(prompt_id, (Message("user", text),), (Message("user", explanation),), {"facts": {text: ids}})
    path = tmp_path_factory.mktemp("run")
    with RunFolder.open(path, write=True) as folder:
        folder.save_prompts([prompt], [])
        folder.commit(candidates=[said, failed], scores=scores)
        folder.decide("policy", decided.items())
    with RunFolder.open(path, write=False) as folder:
        assert folder.load_prompts("train") == [prompt]
        assert folder.load_prompts("heldout") == []
        assert folder.candidates(iteration=1) == [said, failed]
        assert folder.scores(iteration=1) == {row.key: {"facts": row.score} for row in scores}
        assert folder.decisions("policy") == decided
        assert folder.decisions("control") == {}


def test_nothing_is_there_twice(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.commit(candidates=[candidate(0)], scores=[score_row(0)])
    with RunFolder.open(tmp_path, write=True) as folder:
        with pytest.raises(StoreError, match="already"):
            folder.commit(candidates=[candidate(0, "another")])
        with pytest.raises(StoreError, match="already"):
            folder.commit(scores=[score_row(0, 0.0)])
        with pytest.raises(StoreError, match="already"):
            folder.commit(candidates=[candidate(1), candidate(1)])
        folder.decide("policy", [(key(0), Decision(True, "accepted"))])
        with pytest.raises(StoreError, match="already"):
            folder.decide("policy", [(key(0), Decision(False, "cap"))])
        assert [c.text for c in folder.candidates()] == ["hello"]


def test_scores_of_another_fingerprint_stand_beside_the_old_ones(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.commit(scores=[score_row(0, 0.25)])
        folder.commit(scores=[ScoreRow(key(0), "facts", "f2", Score(0.75))])
        assert folder.scores(fingerprints={"facts": "f1"})[key(0)]["facts"].value == 0.25
        assert folder.scores(fingerprints={"facts": "f2"})[key(0)]["facts"].value == 0.75
        assert folder.scores()[key(0)]["facts"].value == 0.75


CRASH = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from rsft.store import RunFolder
from test_store_run_folder import candidate, key, score_row
from rsft.types import Decision
with RunFolder.open(Path(sys.argv[1]), write=True) as folder:
    for i in range(4):
        if key(i) not in folder.candidate_keys():
            folder.commit(candidates=[candidate(i)])
        if key(i) not in folder.scores():
            folder.commit(scores=[score_row(i)])
    if not folder.decisions("policy"):
        folder.decide("policy", ((key(i), Decision(True, "accepted")) for i in range(4)))
"""


@pytest.mark.parametrize("kind", ["candidates", "scores", "decisions"])
@pytest.mark.parametrize("point", ["written", "renamed", "committed"])
def test_killed_at_any_point_of_a_commit_it_goes_on_to_the_same_end(tmp_path: Path, kind: str, point: str) -> None:
    program = [sys.executable, "-c", CRASH.format(tests=str(Path(__file__).parent)), str(tmp_path / "run")]
    times = 1 if kind == "decisions" else 3
    killed = subprocess.run(program, env={**os.environ, "RSFT_FAILPOINT": f"{kind}.{point}:{times}"}, check=False)
    assert killed.returncode == -signal.SIGKILL
    subprocess.run(program, check=True)
    with RunFolder.open(tmp_path / "run", write=False) as folder:
        assert folder.candidates() == [candidate(i) for i in range(4)]
        assert folder.scores() == {key(i): {"facts": Score(1.0, "why")} for i in range(4)}
        assert len(folder.decisions("policy")) == 4
        on_disk = {str(p.relative_to(folder.path)) for p in folder.path.glob("*/*") if p.is_file()}
        assert on_disk == {segment.path for segment in folder.ledger.segments()}, "no orphan, no part left"


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "empty"])
def test_a_damaged_segment_is_set_aside_and_only_its_rows_are_owed(tmp_path: Path, damage: str) -> None:
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.commit(candidates=[candidate(0)])
        folder.commit(candidates=[candidate(1), candidate(2)])
    victim = sorted((tmp_path / "candidates").glob("*.parquet"))[1]
    content = bytearray(victim.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 4
    victim.unlink() if damage == "delete" else victim.write_bytes(
        content[: {"flip": len(content), "truncate": 40, "empty": 0}[damage]]
    )
    with RunFolder.open(tmp_path, write=True) as folder:
        assert folder.candidate_keys() == {key(0)}
        (event,) = folder.ledger.events()
        assert (event["kind"], event["rows"]) == ("segment_damaged", 2)
        folder.commit(candidates=[candidate(1), candidate(2)])
        assert len(folder.candidates()) == 3
    assert len(list(tmp_path.glob("damaged/*"))) == (0 if damage == "delete" else 1)


def test_a_reader_of_a_damaged_run_is_told_what_mends_it(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.commit(candidates=[candidate(0)])
    next((tmp_path / "candidates").glob("*.parquet")).write_bytes(b"no parquet")
    with RunFolder.open(tmp_path, write=False) as folder, pytest.raises(RunError, match="rsft resume"):
        folder.candidates()


def test_one_writer(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, write=True):
        with pytest.raises(RunError, match=rf"in use by process {os.getpid()}"):
            RunFolder.open(tmp_path, write=True).__enter__()
        with RunFolder.open(tmp_path, write=False) as reader:
            assert reader.writer_pid() == os.getpid()
    with RunFolder.open(tmp_path, write=False) as reader:
        assert reader.writer_pid() is None


def test_who_only_looks_keeps_no_writer_out(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, write=True):
        pass
    taken: list[bool] = []

    def write() -> None:
        with RunFolder.open(tmp_path, write=True):
            taken.append(True)

    writing = threading.Thread(target=write)
    with (tmp_path / "lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)  # as whoever asks who writes does for a moment
        writing.start()
        writing.join(0.05)
        assert not taken
    writing.join()
    assert taken


def test_a_folder_that_cant_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(RunError, match="can't be written to: Is a directory"):
        RunFolder.open(tmp_path, write=True).__enter__()


def test_a_lock_that_a_dead_process_left_is_free(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from rsft.store import RunFolder
RunFolder.open(Path({str(tmp_path)!r}), write=True).__enter__()
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    assert (tmp_path / "lock").read_text().isdigit()
    with RunFolder.open(tmp_path, write=True) as folder:
        assert folder.writer_pid() == os.getpid()


def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with RunFolder.open(tmp_path, write=True) as folder:
        folder.commit(candidates=[candidate(0)])
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(RunError, match=r"No space left on device.*rsft resume"):
                folder.commit(candidates=[candidate(1)])
    with RunFolder.open(tmp_path, write=True) as folder:
        assert folder.candidate_keys() == {key(0)}
        folder.commit(candidates=[candidate(1)])
        assert len(folder.candidates()) == 2


@pytest.mark.parametrize("path", ["../outside.parquet", "/etc/passwd", "candidates/../../x", "candidates/a\0b"])
def test_a_ledger_that_leads_out_of_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.commit(candidates=[candidate(0)])
        folder.ledger._db.execute("UPDATE segments SET path=?", (path,))
        with pytest.raises(StoreError, match="outside"):
            folder.candidates()


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside.parquet"
    with RunFolder.open(tmp_path / "run", write=True) as folder:
        folder.commit(candidates=[candidate(0)])
        (segment,) = folder.ledger.segments()
        (folder.path / segment.path).rename(outside)
        (folder.path / segment.path).symlink_to(outside)
        with pytest.raises(StoreError, match="link"):
            folder.candidates()


def test_what_is_no_run_folder_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        RunFolder.open(tmp_path, write=False).__enter__()
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(RunError, match="can't be used as a ledger"):
        RunFolder.open(tmp_path, write=False).__enter__()
    assert (tmp_path / "ledger.sqlite").read_bytes().startswith(b"not a database")


def test_damaged_prompts_are_read_again_only_if_they_are_the_same(tmp_path: Path) -> None:
    prompt = Prompt("a", (Message("user", "hi"),), (Message("user", "hi"),))
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.save_prompts([prompt], [])
    next((tmp_path / "prompts").glob("*.parquet")).write_bytes(b"")
    with RunFolder.open(tmp_path, write=True) as folder:
        assert folder.load_prompts("train") == []
        other = Prompt("a", (Message("user", "ho"),), (Message("user", "ho"),))
        with pytest.raises(RunError, match="hold others"):
            folder.save_prompts([other], [])
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.save_prompts([prompt], [])
        assert folder.load_prompts("train") == [prompt]


def test_a_finished_run_can_be_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.commit(candidates=[candidate(0)])
    # SQLite's write-ahead log would need files beside the ledger; none is left behind.
    assert {p.name for p in tmp_path.iterdir()} == {"candidates", "ledger.sqlite", "lock"}
