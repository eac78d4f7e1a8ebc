"""Rows of numbers that are put aside on the disk, part by part, until a part is asked for."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rsft.errors import RunError
from rsft.selection.pool import Numbers

_WAITING = 32 * 2**20
"""So many bytes are gathered before they are written."""

Rows = np.ndarray[Any, Any]


class Aside:
    """Rows of one kind, each of a part. They lie in a file without a name, which is gone with this process however that
    ends; those of a single part stay in memory."""

    def __init__(self, kind: Any, parts: int, folder: Path) -> None:
        """`kind` is numpy's type of a row; the file lies in `folder`, or where temporary files do if that can't be
        written."""
        self._kind, self._folder = np.dtype(kind), folder
        self._waiting: list[list[Rows]] = [[] for _ in range(parts)]
        self._written: list[list[tuple[int, int]]] = [[] for _ in range(parts)]
        self.count_P = np.zeros(parts, dtype=np.int64)
        """How many rows there are of each part."""
        self._bytes, self._end = 0, 0
        self._file: int | None = None

    def sort_in(self, part_R: Numbers, rows_R: Rows) -> None:
        """Put rows aside, each with the number of its part."""
        if len(self._waiting) == 1 or not len(rows_R) or (part_R[0] == part_R).all():
            self.add(int(part_R[0]) if len(part_R) else 0, rows_R)
            return
        order = np.argsort(part_R, kind="stable")
        bounds = np.flatnonzero(np.diff(part_R[order])) + 1
        for some in np.split(order, bounds):
            self.add(int(part_R[some[0]]), rows_R[some])

    def add(self, part: int, rows: Rows) -> None:
        """Put rows of one part aside, behind those that are there."""
        if len(rows):
            self.count_P[part] += len(rows)
            self._hold(part, rows)

    def arrange(self, in_order: Callable[[Rows], Rows]) -> None:
        """Put each part's rows into another order. No more will come."""
        for part in range(len(self._waiting)):
            rows = in_order(self.rows(part))
            self._bytes -= sum(held.nbytes for held in self._waiting[part])
            self._waiting[part], self._written[part] = [], []
            if len(rows):
                self._hold(part, rows)

    def rows(self, part: int) -> Rows:
        """All of a part's rows, in the order in which they came."""
        written = [self._read(*where) for where in self._written[part]]
        found = [*written, *self._waiting[part]]
        if not found:
            return np.zeros(0, dtype=self._kind)
        if len(found) > 1 and not written:
            self._waiting[part] = found = [np.concatenate(found)]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _hold(self, part: int, rows: Rows) -> None:
        self._waiting[part].append(rows.astype(self._kind, copy=False))
        self._bytes += rows.nbytes
        if self._bytes > _WAITING and len(self._waiting) > 1:
            self._write()

    def _write(self) -> None:
        try:
            if self._file is None:
                self._file = _nameless(self._folder)
                weakref.finalize(self, os.close, self._file)
            for waiting, written in zip(self._waiting, self._written, strict=True):
                if waiting:
                    said = memoryview(b"".join(rows.tobytes() for rows in waiting))
                    done = 0
                    while done < len(said):
                        done += os.pwrite(self._file, said[done:], self._end + done)
                    written.append((self._end, len(said)))
                    self._end += len(said)
                    waiting.clear()
        except OSError as error:
            raise RunError(
                f"A run this large is read by way of a temporary file in {self._folder}, which can't be written: "
                f"{error.strerror or error}. Free some space, some hundred bytes a candidate."
            ) from error
        self._bytes = 0

    def _read(self, start: int, size: int) -> Rows:
        assert self._file is not None
        held = bytearray(size)
        done = 0
        while done < size:
            got = os.preadv(self._file, [memoryview(held)[done:]], start + done)
            assert got > 0, "what was written is there"
            done += got
        return np.frombuffer(held, dtype=self._kind)


def _nameless(folder: Path) -> int:
    for where in (folder, None):
        try:
            with tempfile.TemporaryFile(dir=where) as file:
                return os.dup(file.fileno())
        except OSError:
            if where is None:
                raise
    raise AssertionError
