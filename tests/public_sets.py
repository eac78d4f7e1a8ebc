"""The public data sets that shipped recipes name, in miniature: rows of our own, with the columns of the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

Rows = list[dict[str, Any]]


def _gsm8k(split: str) -> Rows:
    """Solutions as GSM8K has them, with its calculator's marks and the answer behind ####."""
    boxes = [
        {
            "question": f"The {split} shop packs {n} boxes of {24 // n} rolls each. How many rolls are that?",
            "answer": f"There are {n}*{24 // n}=<<{n}*{24 // n}=24>>24 rolls.\n#### 24",
        }
        for n in (2, 3, 4, 6)
    ]
    money = [
        {
            "question": f"For {n} days a mill earns ${1200 // n} a day ({split}). How much is that?",
            "answer": f"It earns {n}*{1200 // n}=$<<{n}*{1200 // n}=1200>>1200.\n#### 1,200",
        }
        for n in (2, 3, 4, 6)
    ]
    return boxes + money


def _mbpp(split: str) -> Rows:
    def row(task_id: int, text: str, code: str, tests: list[str], setup: str = "") -> dict[str, Any]:
        columns = {"task_id": task_id, "text": text, "code": code, "test_list": tests, "test_setup_code": setup}
        return {**columns, "challenge_test_list": []}

    first = {"train": 601, "test": 11}[split]
    double = [f"assert double({n}) == {2 * n}" for n in (2, 0, -3)]
    root = [f"assert math.isclose(root({n * n}), {n})" for n in (2, 3, 10)]
    return [
        row(first, f"Write a function to double a number ({split}).", "def double(x):\r\n  return 2 * x", double),
        row(
            first + 1,
            f"Write a function for the root ({split}).",
            "def root(x):\r\n  return x ** .5",
            root,
            "import math",
        ),
    ]


_SETS: dict[tuple[str, str | None], tuple[Any, tuple[str, ...]]] = {
    ("openai/gsm8k", "main"): (_gsm8k, ("train", "test")),
    ("google-research-datasets/mbpp", "full"): (_mbpp, ("train", "test")),
}


def load_dataset(name: str, config: str | None = None, *, split: str) -> Rows:
    """What the package `datasets` has by this name. Raises KeyError for a set, config or split that isn't there."""
    rows, splits = _SETS[name, config]
    if split not in splits:
        raise KeyError(split)
    return list(rows(split))


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have these sets take the hub's place."""
    monkeypatch.setattr("datasets.load_dataset", load_dataset)


def write_repositories(folder: Path) -> None:
    """These sets as their repositories hold them, in Parquet, for the real package `datasets` to find in `folder`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for (name, config), (rows, splits) in _SETS.items():
        here = folder / name / str(config)
        here.mkdir(parents=True)
        for split in splits:
            pq.write_table(pa.Table.from_pylist(rows(split)), here / f"{split}-00000-of-00001.parquet")
        files = "".join(f"  - {{split: {split}, path: {config}/{split}-*}}\n" for split in splits)
        head = f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{files}---\n"
        (here.parent / "README.md").write_text(head)
