"""What names of sources stand for, and what is said of names that stand for nothing."""

from pathlib import Path
from typing import Any

import pytest

from rsft.errors import PromptError
from rsft.prompts.sources import FORMATS, HUB, find_sources


def refusal(*names: str) -> str:
    with pytest.raises(PromptError) as refused:
        find_sources(names, "train")
    return str(refused.value)


def test_a_missing_file_suggests_the_nearest_one(write: Any, tmp_path: Path) -> None:
    write("service.train.jsonl", "{}")
    message = refusal(str(tmp_path / "servce.train.jsonl"))
    assert "There is no prompt file" in message
    assert "Did you mean 'service.train.jsonl'?" in message


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert f"nor a folder {tmp_path}/nowhere" in refusal(str(tmp_path / "nowhere" / "p.jsonl"))


def test_a_relative_path_is_not_taken_for_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "There is no prompt file data/train.jsonl" in refusal("data/train.jsonl")
    (tmp_path / "data").mkdir()
    assert "There is no prompt file data/train" in refusal("data/train")
    (source,) = find_sources(["data/train#test"], "train")
    assert (source.format, source.path, source.split) == (HUB, "data/train", "test")


def test_unknown_endings_list_the_known_ones(write: Any) -> None:
    message = refusal(write("p.txt", "hi"))
    assert "has an unknown ending" in message
    assert all(ending in message for ending in FORMATS)


@pytest.mark.parametrize("name", ["", "  ", "a\0b.jsonl"])
def test_names_of_nothing(name: str) -> None:
    assert "names no prompt file" in refusal(name)


def test_no_sources_a_folder_and_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    assert "No prompt file is named" in refusal()
    assert "is not a file; name the files themselves" in refusal(str(tmp_path))
    assert "can't be read" in refusal("x" * 5000 + ".jsonl")


def test_terminal_escapes_in_names_are_shown_as_text(tmp_path: Path) -> None:
    message = refusal(str(tmp_path / "\x1b[31mred.jsonl"))
    assert "\x1b" not in message
    assert "\\x1b[31mred.jsonl" in message


def test_all_sources_are_looked_for_before_any_is_read(write: Any) -> None:
    assert "missing.jsonl" in refusal(write("broken.jsonl", "{"), "missing.jsonl")
