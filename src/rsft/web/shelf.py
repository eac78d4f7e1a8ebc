"""What was read of a run's iteration stays read until it changes: the columns of a million candidates take seconds to
read, and a page of them is to come at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rsft.distributions import Bins
from rsft.errors import RunError
from rsft.labelling import Frame
from rsft.reselection import Changes
from rsft.selection.held import HeldPool
from rsft.selection.pool import Numbers, Places
from rsft.setup import saved_recipe
from rsft.store import RunFolder
from rsft.stored import StoredPool, decided_rules
from rsft.web.precision import Precision

_HELD = 2
"""Iterations that are held at once: some hundred bytes a candidate, and as much as its text once somebody searched."""
_KEY = ("prompt_id", "sample_index", "generator")
_Found = TypeVar("_Found")


class Book:
    """One iteration's candidates on which the run decided, as columns in the order of their making. Raises RunError if
    there are none yet."""

    def __init__(self, folder: RunFolder, iteration: int) -> None:
        if iteration not in folder.decided_iterations("policy"):
            raise RunError(f"The run {folder.path} has decided on no candidates of iteration {iteration} yet.")
        self.folder, self.iteration = folder, iteration
        self.stored = StoredPool(folder, iteration, folder.noted_scorers())
        self.pool = self.stored.pool = HeldPool.of_pool(self.stored.pool)
        self.changes = Changes(self.stored, self.texts_of)
        # Whoever asks for some texts has them from those that are held.
        self.stored.texts_of = self.texts_of
        self.precision = Precision(folder, iteration, list(self.pool.scores), self.frame)
        self.rules, self.rule_N = decided_rules(folder, iteration, "policy")
        self._frames: dict[str, Frame] = {}
        self._orders: dict[tuple[str, bool], Places] = {}

    def by_score(self, scorer: str, *, high: bool) -> Places:
        """All places in the order of a scorer's values, the highest first if so asked; where it failed is last."""
        if (scorer, high) not in self._orders:
            values_N = self.pool.scores[scorer]
            self._orders[scorer, high] = np.argsort(-values_N if high else values_N, kind="stable")
        return self._orders[scorer, high]

    def frame(self, scorer: str) -> Frame:
        """The replies that may be labelled for a scorer's threshold. Raises a UserError for one that the run lacks."""
        if scorer not in self._frames:
            recipe = saved_recipe(self.folder.path)
            self._frames[scorer] = Frame(self.folder, recipe, scorer, self.iteration, self.stored)
        return self._frames[scorer]

    @cached_property
    def bins(self) -> dict[str, Bins]:
        """Each scorer's values in the bins of its histogram."""
        return {name: Bins(values_N) for name, values_N in self.pool.scores.items()}

    def texts_of(self, places: Places) -> dict[int, str]:
        """The replies at some places, by these."""
        return dict(zip(places.tolist(), self.texts.take(places).to_pylist(), strict=True))

    @cached_property
    def texts(self) -> Any:
        """(N,): the replies, as an Arrow array."""
        import pyarrow as pa

        places, texts = [], []
        for table in self.folder.tables("candidates", str(self.iteration), [*_KEY, "text"]):
            there = self.stored.keys.places(table)
            places.append(there[there >= 0])
            own = table["text"].filter(pa.array(there >= 0))
            texts += own.cast(pa.large_string()).chunks  # more than 2 GB of texts are one array as well
        # Of an array in parts, pyarrow takes some rows by copying it as a whole.
        whole = pa.concat_arrays(texts)
        rows: Numbers = np.arange(len(whole), dtype=np.int32)
        row_of = np.empty(len(self.pool), dtype=np.int32)
        row_of[np.concatenate(places)] = rows
        # As a rule decisions stand in the order of their candidates.
        return whole if np.array_equal(row_of, rows) else whole.take(pa.array(row_of))


class Shelf:
    """Keeps the books that were read last. All reading is done by one thread, the only one that opens their ledgers."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "rsft-web-reading")
        self._books: dict[tuple[Path, int], tuple[Any, contextlib.ExitStack, Book]] = {}

    async def read(self, run: Path, iteration: int, work: Callable[[Book], _Found]) -> _Found:
        """What `work` finds in the book of a run's iteration as it is now. Raises a UserError where there is none."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: work(self._book(run, iteration)))

    def _book(self, run: Path, iteration: int) -> Book:
        held = self._books.pop((run, iteration), None)
        if held is not None:
            written, closing, book = held
            if written == _written(book.folder, iteration):
                self._books[run, iteration] = held
                return book
            closing.close()
        while len(self._books) >= _HELD:
            _, oldest, _ = self._books.pop(next(iter(self._books)))
            oldest.close()
        with contextlib.ExitStack() as opening:
            folder = opening.enter_context(RunFolder.open(run, write=False))
            written = _written(folder, iteration)
            book = Book(folder, iteration)
            self._books[run, iteration] = (written, opening.pop_all(), book)
        return book

    def close(self) -> None:
        """Close the ledgers."""
        self._thread.submit(self._close_all).result()
        self._thread.shutdown()

    def _close_all(self) -> None:
        while self._books:
            self._books.popitem()[1][1].close()


def _written(folder: RunFolder, iteration: int) -> Any:
    """What the book was read from: other segments make another book."""
    scopes = (("candidates", str(iteration)), ("scores", str(iteration)), ("decisions", f"{iteration}:policy"))
    # A ledger that is held open stays the same file even where another run was put in its place.
    file = folder.ledger.path.stat().st_ino
    return file, [folder.ledger.segments(kind, scope) for kind, scope in scopes], folder.noted_scorers()
