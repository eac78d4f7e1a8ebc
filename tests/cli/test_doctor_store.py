"""`rsft doctor` tries the store where a recipe keeps its segments, leaves nothing there, and gives away nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from command import Command
from rsft.doctor import store
from s3_server import BUCKET, S3Server, look_again

Looks = Callable[[str], dict[str, Any]]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with S3Server.started() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield server


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Command) -> Looks:
    """What `rsft doctor` says of a store."""
    monkeypatch.chdir(tmp_path)

    def run(url: str) -> dict[str, Any]:
        said = {
            "model": "none",
            "prompts": {"train": "bundled:shop.train.jsonl.gz"},
            "scorers": {"brief": {"type": "length", "max_words": 14}},
            "selection": ["brief >= 1"],
            "store": {"segments": url},
        }
        Path("bot.yaml").write_text(json.dumps(said))
        (check,) = (one for one in cli("doctor", "bot.yaml", "--json").json["checks"] if one["about"] == "store")
        assert check["name"] == url
        assert check["advice"] or check["state"] == "ok"
        assert "canary" not in json.dumps(check)
        return dict(check)

    return run


def test_a_disk_is_written_and_left_as_it_was(look: Looks, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    check = look((tmp_path / "shared").as_uri())
    assert check["state"] == "ok"
    assert "written, read, listed and removed in" in check["found"]
    assert not list((tmp_path / "shared").iterdir())


def test_a_disk_that_is_not_there_yet_is_noted_and_not_made(look: Looks, tmp_path: Path) -> None:
    check = look((tmp_path / "mnt" / "shared").as_uri())
    assert check["state"] == "note"
    assert f"{tmp_path / 'mnt'} was not there" in check["found"]
    assert "mount it" in check["advice"]
    assert not (tmp_path / "mnt").exists()


def test_a_disk_that_refuses_is_a_problem(look: Looks, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check = look((tmp_path / "file" / "shared").as_uri())
    assert (check["state"], "can't be written" in check["found"]) == ("problem", True)
    assert "Let this user write there" in check["advice"]


def test_an_object_store_is_tried_once_as_segments_are_written(look: Looks, s3: S3Server) -> None:
    check = look(f"s3://{BUCKET}/deep/shared")
    assert check["state"] == "ok", check
    asked = s3.asked()
    (put,) = (one for one in asked if one["method"] == "PUT" and one["path"] != f"/{BUCKET}")
    assert put["path"].startswith(f"/{BUCKET}/deep/shared/rsft-doctor-")
    assert put["path"].endswith(".parquet")
    assert [one["path"] for one in asked if one["method"] == "DELETE"] == [put["path"]]
    assert not fsspec.filesystem("s3").find(f"{BUCKET}/deep")


def test_what_is_wrong_with_an_object_store_is_told_apart(
    look: Looks, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = look("s3://no-such-bucket/shared")
    assert "bucket does not exist" in bucket["found"]
    assert "Make the bucket" in bucket["advice"]
    s3.fail(1)
    s3.asked()
    assert "can't be written" in look(f"s3://{BUCKET}/shared")["found"]
    assert len(s3.asked()) == 1, "a run would ask again, and who looks at it wants to know"
    s3.fail(0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    look_again()
    away = look(f"s3://{BUCKET}/shared")
    assert "Could not connect" in away["found"]
    assert "AWS_ENDPOINT_URL" in away["advice"]
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    look_again()
    keys = look(f"s3://{BUCKET}/shared")
    assert "locate credentials" in keys["found"]
    assert "AWS_SECRET_ACCESS_KEY" in keys["advice"]
    assert {one["state"] for one in (bucket, away, keys)} == {"problem"}


@pytest.mark.parametrize(
    ("method", "step", "stays"),
    [
        ("put_file", "written", False),
        ("cat_file", "read", False),
        ("ls", "listed", False),
        ("rm_file", "removed", True),
    ],
)
def test_each_thing_that_is_not_allowed_is_named_without_the_key(
    look: Looks, monkeypatch: pytest.MonkeyPatch, method: str, step: str, stays: bool
) -> None:
    def refused(self: Any, *_: Any, **__: Any) -> Any:
        raise PermissionError("canary-of-a-key is not allowed to, says https://user:canary@host/x")

    monkeypatch.setenv("SHOP_KEY", "canary-of-a-key")
    memory = fsspec.get_filesystem_class("memory")
    monkeypatch.setattr(memory, method, refused)
    check = look("memory://closed")
    assert check["state"] == "problem"
    assert f"can't be {step}: *** is not allowed to, says https://***@host/x" in check["found"]
    assert "must be right, and allow to write" in check["advice"]
    left = [path for path in memory.store if path.startswith("/closed/")]  # of a store that all tests share
    assert ("stays there" in check["found"]) == stays == bool(left)
    for path in left:
        del memory.store[path]


def test_a_library_that_is_missing_is_named(look: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no storage is known" in look("s4://bucket/shared")["found"]

    def missing(scheme: str) -> Any:
        raise ImportError("Please install s3fs")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    assert "pip install 'rsft[s3]'" in look("s3://bucket/shared")["found"]


def test_a_store_that_does_not_answer_is_not_waited_for(look: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(store, "_SECONDS", 0.0)
    monkeypatch.setattr(store, "_trial", lambda *_: answered.wait())
    check = look("memory://slow")
    answered.set()
    assert (check["state"], check["found"]) == ("problem", "it has not answered in 0 s")


def test_another_machine_finds_what_was_left_or_it_is_another_store(s3: S3Server, tmp_path: Path) -> None:
    url = f"s3://{BUCKET}/shared"
    with store.left_in(url) as left:
        assert left is not None
        assert store.trial(url, left).check("a").state == "ok"
    assert store.trial(url, left).check("a").state == "problem", "what it writes would be lost"
    disk = (tmp_path / "shared").as_uri()
    with store.left_in(disk) as left:
        assert left is not None
        assert store.trial(disk, left).check("a").state == "ok"
    check = store.trial(disk, left).check("a")
    assert (check.state, "does not see" in check.found) == ("note", True)
    assert not (tmp_path / "shared").exists()
    with store.left_in("s3://no-such-bucket/x") as left:
        assert left is None
