"""Places keep what they were given, wherever they are; and what may pass is asked again."""

from __future__ import annotations

import hashlib
import os
import pickle
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_store_run_folder import candidate

from rsft.errors import RecipeError, RunError, StoreError
from rsft.store import remote, rows
from rsft.store.ledger import Segment
from rsft.store.places import Local, Place, check_url, place_at
from rsft.store.remote import Remote
from rsft.store.segments import Regrouped, _groups
from rsft.store.writing import Order, written
from s3_server import BUCKET, S3Server


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server.started() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(params=["folder", "file", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(remote, "_FIRST_WAIT_SECONDS", 0.001)
    if request.param == "folder":
        return Local(tmp_path)
    if request.param == "s3":
        request.getfixturevalue("s3")
    url = {"file": tmp_path.as_uri(), "memory": "memory://shared", "s3": f"s3://{BUCKET}/shared"}[request.param]
    return place_at(url, f"run-{secrets.token_hex(4)}")


def put(place: Place, name: str, content: bytes) -> str:
    return place.put(name, lambda aside: _write(aside, content), before=lambda: None)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def test_what_went_in_comes_out(place: Place, tmp_path: Path) -> None:
    checksum = put(place, "scores/a", b"good")
    put(place, "scores/b", "größer".encode())
    put(place, "decisions/c", b"")
    put(place, "mark", b"me")
    assert checksum == hashlib.sha256(b"good").hexdigest()
    assert place.names("scores") == ["scores/a", "scores/b"]
    assert place.names("candidates") == []
    assert place.names("") == ["mark"]
    assert place.text("scores/b") == "größer"
    assert place.is_as_written("scores/a", checksum)
    assert not place.is_as_written("scores/b", checksum)
    assert not place.is_as_written("scores/z", checksum)
    place.remove("scores/b")
    place.remove("scores/b")
    with pytest.raises(FileNotFoundError):
        place.text("scores/b")
    place.move_out("scores/a", tmp_path / "away" / "a")
    place.move_out("scores/z", tmp_path / "nowhere" / "z")
    assert (tmp_path / "away" / "a").read_bytes() == b"good"
    assert not (tmp_path / "nowhere").exists()
    assert place.names("scores") == []
    assert pickle.loads(pickle.dumps(place)) == place


def test_another_run_at_the_same_url_is_not_seen(place: Place) -> None:
    if isinstance(place, Remote):
        other: Place = Remote(place.url + "-2")
    else:
        assert isinstance(place, Local)
        other = Local(place.folder / "scores-2")
    put(place, "scores/a", b"mine")
    put(other, "scores/b", b"another's")
    assert place.names("scores") == ["scores/a"]
    assert other.names("scores") == ["scores/b"]


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "scores/../../a", "scores/a\0b"])
def test_what_leads_out_of_a_place_is_refused(place: Place, name: str) -> None:
    for look in (lambda: place.text(name), lambda: place.is_as_written(name, ""), lambda: put(place, name, b"")):
        with pytest.raises(StoreError, match="outside"):
            look()


def an_order(place: Place, count: int) -> Order:
    texts = (hashlib.sha512(str(i).encode()).hexdigest() for i in range(count))  # nothing to compress
    table = rows.candidates_table([candidate(i, f"{i} {text}") for i, text in enumerate(texts)])
    return Order(place, "candidates/000001-ab.parquet", "candidates", "1", [table], count, "candidates")


@pytest.mark.parametrize("count", [30, 20_000])
def test_a_segment_is_written_and_read_in_groups(place: Place, count: int) -> None:
    segment = written(pickle.loads(pickle.dumps(an_order(place, count))))
    assert (segment.path, segment.rows) == ("candidates/000001-ab.parquet", count)
    assert place.is_as_written(segment.path, segment.sha256)
    (group,) = _groups("run", place, segment, ["sample_index"], (), (), 0)
    assert group[1]["sample_index"].to_pylist() == list(range(count))
    joined = pickle.loads(pickle.dumps(Regrouped("run", place, (segment, segment))))
    assert joined.rows == sum(table.num_rows for table in joined) == 2 * count


def test_of_a_large_segment_only_what_is_wanted_is_fetched(s3: S3Server) -> None:
    place = place_at(f"s3://{BUCKET}/large", "run")
    segment = written(an_order(place, 20_000))
    size = len(place._bytes(segment.path))  # type: ignore[attr-defined]
    s3.asked()
    (group,) = _groups("run", place, segment, ["sample_index", "prompt_id"], (), (), 0)
    assert group[0] == 20_000
    fetched = [one for one in s3.asked() if one["method"] == "GET"]
    assert sum(one["bytes"] for one in fetched) < size / 4
    assert len(fetched) <= 3, "the end of the file, and what lies together"


@pytest.mark.parametrize("seed", range(3))
def test_what_fails_now_and_then_is_asked_again(s3: S3Server, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(remote, "_FIRST_WAIT_SECONDS", 0.001)
    place = place_at(f"s3://{BUCKET}/faulty", f"run-{seed}")
    s3.asked()
    s3.fail(0.3, seed)
    try:
        checksums = {f"scores/{i}": put(place, f"scores/{i}", bytes([i]) * 5000) for i in range(20)}
        assert all(place.is_as_written(*one) for one in checksums.items())
        assert not place.is_as_written("scores/z", "")
        assert sorted(place.names("scores")) == sorted(checksums)
        segment = written(an_order(place, 20_000))
        (group,) = _groups("run", place, segment, ["text"], (), (), 0)
        assert group[1]["text"].to_pylist()[7].startswith("7 ")
    finally:
        s3.fail(0)
    assert sum(one["status"].startswith("5") for one in s3.asked()) > 5


def test_what_never_answers_is_a_clear_error_without_secrets(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_FIRST_WAIT_SECONDS", 0.001)
    place = place_at(f"s3://{BUCKET}/away", "run")
    put(place, "scores/a", b"there")
    s3.fail(1)
    try:
        for ask in (lambda: put(place, "scores/b", b""), lambda: place.names("scores"), lambda: place.text("scores/a")):
            with pytest.raises(RunError, match=rf"s3://{BUCKET}/away/run/scores.* can't be .*rsft resume") as caught:
                ask()
            assert "canary" not in str(caught.value)
        with pytest.raises(RunError, match="can't be read"):
            place.is_as_written("scores/a", "")  # what can't be reached is not damaged
    finally:
        s3.fail(0)
    with pytest.raises(RunError, match=r"can't be written: .*bucket"):
        put(place_at("s3://no-such-bucket/x", "run"), "scores/a", b"")


def test_a_store_that_refuses_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refused(self: Any, path: str, **_: Any) -> bytes:
        asked.append(path)
        raise PermissionError("Access Denied")

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", refused)
    with pytest.raises(RunError, match="can't be read: Access Denied"):
        place_at("memory://closed", "run").text("a")
    assert len(asked) == 1


def test_a_damaged_segment_is_told_with_its_url(place: Place) -> None:
    put(place, "scores/a", b"no parquet")
    with pytest.raises(RunError, match=r"scores/a can't be read: .*rsft resume runs/x"):
        next(_groups("runs/x", place, Segment("scores/a", "scores", "1", "", 3), ["value"], (), (), 0))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(scheme: str) -> Any:
        raise ImportError("Please install gcsfs to access Google Storage")

    check_url("file:///anywhere")
    check_url("memory://anywhere")
    with pytest.raises(RecipeError, match="no storage is known whose URLs begin with s4://"):
        check_url("s4://bucket")
    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(RecipeError, match=r"is not installed: pip install 'rsft\[s3\]'"):
        check_url("s3://bucket/prefix")
    with pytest.raises(RecipeError, match="Please install gcsfs"):
        check_url("gs://bucket/prefix")


def test_arrow_reads_ranges_like_files(tmp_path: Path) -> None:
    place = place_at("memory://ranges", secrets.token_hex(4))
    table = pa.table({"a": list(range(1000)), "b": ["x"] * 1000})
    place.put("t", lambda aside: pq.write_table(table, aside, row_group_size=100), before=lambda: None)
    with pq.ParquetFile(place.source("t", small=False)) as file:
        assert file.read().equals(table)
        assert file.read_row_group(7, ["a"])["a"].to_pylist() == list(range(700, 800))
    stream = remote._Ranges(place, "t")  # type: ignore[arg-type]
    assert stream.seek(-4, os.SEEK_END) == stream.tell()
    assert stream.read() == b"PAR1"
    assert stream.read(5) == b""
