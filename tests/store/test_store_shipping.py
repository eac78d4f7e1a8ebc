"""A folder reaches another machine whole, unchanged and nowhere else, or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rsft.errors import RunError, StoreError
from rsft.store import shipping
from rsft.store.shipping import File, Manifest, fetched, is_there, manifest_of, parts, place, unpack

FILES = {
    "adapter_config.json": b"{}",
    "adapter_model.safetensors": bytes(range(256)) * 20,
    "deep/er/notes.md": b"x" * 7,
    "empty": b"",
    "zero": b"",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shipping, "PART_BYTES", 1000)
    made = tmp_path / "policy"
    for name, content in FILES.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(content)
    return made


def read(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_what_was_packed_is_unpacked(folder: Path, tmp_path: Path) -> None:
    manifest = manifest_of(folder)
    sent = list(parts(folder, manifest))
    assert max(map(len, sent)) == 1000
    assert manifest.size == sum(map(len, sent))
    unpack(manifest, sent, tmp_path / "there")
    assert read(tmp_path / "there") == FILES
    assert manifest_of(tmp_path / "there").digest == manifest.digest
    # Where one part ends means nothing.
    whole = b"".join(sent)
    unpack(manifest, [whole[:1], whole[1:5000], b"", whole[5000:]], tmp_path / "again")
    assert read(tmp_path / "again") == FILES


def test_of_a_folder_some_files_and_folders_are_sent(folder: Path, tmp_path: Path) -> None:
    manifest = manifest_of(folder, ["deep", "empty", "not there"])
    assert [file.name for file in manifest.files] == ["deep/er/notes.md", "empty"]
    unpack(manifest, parts(folder, manifest), tmp_path / "there")
    assert read(tmp_path / "there") == {name: FILES[name] for name in ("deep/er/notes.md", "empty")}


def test_the_digest_is_that_of_names_and_contents(folder: Path) -> None:
    before = manifest_of(folder).digest
    (folder / "empty").rename(folder / "void")
    renamed = manifest_of(folder).digest
    (folder / "void").write_bytes(b"\n")
    assert len({before, renamed, manifest_of(folder).digest}) == 3


@pytest.mark.parametrize("fault", ["flipped", "short", "long", "swapped"])
def test_what_came_otherwise_than_it_was_sent_is_refused_and_nothing_of_it_stays(
    folder: Path, tmp_path: Path, fault: str
) -> None:
    manifest = manifest_of(folder)
    sent = b"".join(parts(folder, manifest))
    wrong = {
        "flipped": sent[:100] + b"?" + sent[101:],
        "short": sent[:-1],
        "long": sent + b"?",
        "swapped": sent[7:] + sent[:7],
    }[fault]
    with pytest.raises(StoreError, match=r"came damaged|did not come whole|More came"):
        unpack(manifest, [wrong], tmp_path / "to" / "there")
    assert not list((tmp_path / "to").iterdir())


@pytest.mark.parametrize("name", ["/etc/passwd", "../out", "a/../../out", "", ".", "a\0b", "..\\out", "a//../../b"])
def test_a_file_that_would_lie_outside_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="outside of it"):
        unpack(Manifest((File(name, 0, ""),)), [], tmp_path / "to" / "there")
    assert not (tmp_path / "to").exists()
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    twice = Manifest((File("a", 0, ""), File("./a", 0, "")))
    with pytest.raises(StoreError, match="twice"):
        unpack(twice, [], tmp_path / "there")


def test_a_disk_that_refuses_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    manifest = manifest_of(folder)
    with pytest.raises(RunError, match=r"can't be written"):
        unpack(manifest, parts(folder, manifest), tmp_path / "file" / "there")


def test_a_machine_fetches_a_policy_once(folder: Path, tmp_path: Path) -> None:
    manifest, cache, times = manifest_of(folder), tmp_path / "cache", []

    def receive() -> Iterator[bytes]:
        times.append(1)
        yield from parts(folder, manifest)

    found: list[Path] = []
    asking = [
        threading.Thread(target=lambda: found.append(fetched(cache, "ab12", manifest, receive))) for _ in range(8)
    ]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert times == [1]
    assert set(found) == {place(cache, "ab12", manifest)}
    assert read(found[0]) == FILES
    (found[0] / "adapter_config.json").unlink()
    assert not is_there(found[0], manifest)
    assert read(fetched(cache, "ab12", manifest, receive)) == FILES, "what somebody damaged is fetched again"


def test_a_failed_fetch_leaves_room_for_the_next(folder: Path, tmp_path: Path) -> None:
    manifest, cache = manifest_of(folder), tmp_path / "cache"
    with pytest.raises(StoreError):
        fetched(cache, "ab12", manifest, lambda: [b"?"])
    assert [entry.name for entry in cache.iterdir()] == ["lock"]
    assert read(fetched(cache, "ab12", manifest, lambda: parts(folder, manifest))) == FILES


def test_a_cache_keeps_the_policies_that_were_asked_for_last(folder: Path, tmp_path: Path) -> None:
    manifest, cache = manifest_of(folder), tmp_path / "cache"

    def ask(policy: str, age: float) -> None:
        got = fetched(cache, policy, manifest, lambda: parts(folder, manifest), keep=2)
        then = got.stat().st_mtime - age
        os.utime(got, (then, then))

    left = cache / f".old.{'0' * 32}.part"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    for age, policy in ((40, "a1"), (30, "b2"), (20, "a1"), (10, "c3")):
        ask(policy, age)
    assert {entry.name.partition("-")[0] for entry in cache.iterdir() if entry.is_dir()} == {"a1", "c3"}


@pytest.mark.parametrize("policy", ["../x", "", "AB", "a/b"])
def test_what_is_no_hash_names_no_folder(folder: Path, tmp_path: Path, policy: str) -> None:
    with pytest.raises(StoreError, match="no hash"):
        place(tmp_path, policy, manifest_of(folder))


def test_a_policy_with_other_files_beside_it_is_another_folder(folder: Path, tmp_path: Path) -> None:
    manifest = manifest_of(folder)
    other = Manifest((*manifest.files[:-1], replace(manifest.files[-1], name="other")))
    assert place(tmp_path, "ab", manifest) != place(tmp_path, "ab", other)
