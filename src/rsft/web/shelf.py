"""What was read of a run's iteration stays read until it changes: the columns of a million candidates take seconds to
read, and a page of them is to come at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from rsft.comparison import Which
from rsft.store import RunFolder
from rsft.web.beside import Beside
from rsft.web.books import Book, open_book, written
from rsft.web.sources import Source

_HELD = 2
"""Books that are held at once: some hundred bytes a candidate, and as much as its text once somebody searched. Of
comparisons, which hold greedy replies alone, as many."""
_Found = TypeVar("_Found")
_Key = tuple[Path, int, Source]


class Shelf:
    """Keeps the books that were read last. All reading is done by one thread, the only one that opens their ledgers."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "rsft-web-reading")
        self._books: dict[_Key, tuple[Any, contextlib.ExitStack, Book]] = {}
        self._beside: dict[tuple[Which, ...], tuple[Any, Beside]] = {}

    async def read(self, run: Path, iteration: int, source: Source, work: Callable[[Book], _Found]) -> _Found:
        """What `work` finds in the book of a run's iteration as it is now. Raises a UserError where there is none."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: work(self._book((run, iteration, source))))

    async def beside(self, policies: Sequence[Which], work: Callable[[Beside], _Found]) -> _Found:
        """What `work` finds in the comparison of some policies as they are now. Raises a UserError where one was not
        measured."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: work(self._comparison(tuple(policies))))

    def _book(self, key: _Key) -> Book:
        run, iteration, source = key
        if key in self._books:
            was, _, book = self._books[key]
            if was == written(book.folder, iteration, source):
                self._books[key] = self._books.pop(key)  # the last that is let go
                return book
            del book
            self._close(key)
        while len(self._books) >= _HELD:
            self._close(next(iter(self._books)))
        with contextlib.ExitStack() as opening:
            folder = opening.enter_context(RunFolder.open(run, write=False))
            now = written(folder, iteration, source)
            book = open_book(folder, iteration, source)
            # What it holds goes at once, though parts of it know each other: it can be gigabytes.
            opening.callback(vars(book).clear)
            self._books[key] = (now, opening.pop_all(), book)
        return book

    def _close(self, key: _Key) -> None:
        self._books.pop(key)[1].close()

    def _comparison(self, policies: tuple[Which, ...]) -> Beside:
        now = [_written(one) for one in policies]
        was, beside = self._beside.pop(policies, (None, None))
        if beside is None or was != now:
            beside = Beside.read(policies)
        self._beside[policies] = (now, beside)
        while len(self._beside) > _HELD:
            self._beside.pop(next(iter(self._beside)))
        return beside

    def close(self) -> None:
        """Close the ledgers."""
        self._thread.submit(self._close_all).result()
        self._thread.shutdown()

    def _close_all(self) -> None:
        for key in list(self._books):
            self._close(key)


def _written(policy: Which) -> Any:
    """What a policy's measured replies were read from, and the summary beside them."""
    summary = policy.run / "summary.json"
    with RunFolder.open(policy.run, write=False) as folder:
        when = summary.stat().st_mtime_ns if summary.is_file() else None
        return when, written(folder, policy.iteration, Source(policy.arm, heldout=True))
