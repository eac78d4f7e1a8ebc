"""What the generators of bundled data share: dealing phrases, and writing rows so that same rows are same bytes."""

import argparse
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Generic, TypeVar

Row = dict[str, Any]
T = TypeVar("T")


class Deck(Generic[T]):
    """Deals cards in random order and starts again when all were dealt, so that each is used about as often."""

    def __init__(self, rng: Random, cards: Sequence[T]) -> None:
        self._rng = rng
        self._cards = cards
        self._left: list[T] = []

    def deal(self, suits: Callable[[T], bool] = lambda _: True) -> T:
        for _ in range(2):
            for card in self._left:
                if suits(card):
                    self._left.remove(card)
                    return card
            self._left = self._rng.sample(self._cards, len(self._cards))
        raise ValueError(f"no card suits, among: {self._cards}")


def join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def in_turn(chat: Sequence[str]) -> list[dict[str, str]]:
    """The messages of a chat that the user begins."""
    return [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(chat)]


def conversation_text(row: Row) -> str:
    return "\n".join(message["content"] for message in row["messages"])


def write_rows(path: Path, rows: list[Row]) -> None:
    """Gzipped JSON lines, without the time and the file name that gzip would store: same rows, same bytes."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


def write_splits(description: str, name: str, make: Callable[[int], dict[str, list[Row]]]) -> None:
    """The command line of a generator: `make` gives the rows of each split by the seed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("src/rsft/data"))
    arguments = parser.parse_args()
    for split, rows in make(arguments.seed).items():
        path = arguments.out / f"{name}.{split}.jsonl.gz"
        write_rows(path, rows)
        print(f"{path}: {len(rows)} rows")
