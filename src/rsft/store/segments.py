"""Segments: immutable Parquet files of rows. They are written and read a group of rows at a time, however many there
are, and small ones that follow each other become one."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import dropwhile, pairwise, takewhile
from pathlib import Path
from typing import Any

from rsft import failpoints
from rsft.errors import RunError, StoreError
from rsft.store import files, rows
from rsft.store.ledger import Ledger, Segment

GROUP_ROWS = 131_072
"""What is read, and in a large segment written, at once: some ten megabytes of candidates."""
_MANY_ROWS = 100_000
# As many small segments in a row become one; the sizes are those under which a segment is small. So a scope has at most
# some 2 × 64 small ones, whatever the size of commits, and a row is written twice or three times in all.
MERGED_AT_ONCE = 64
_SMALL_ROWS = (16_384, 524_288)


class Segments:
    """The segments of a run folder, as Arrow tables. The ledger alone says which there are."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self._path = path
        self._ledger = ledger

    def write(self, kind: str, scope: str, tables: Iterable[Any], event: str | None = None) -> Segment:
        """Write a segment that the ledger is still to name, a table after the other. Its failpoints are
        called by the event (the kind, if there is none)."""
        import pyarrow.parquet as pq

        count = 0

        def written(aside: Path) -> None:
            nonlocal count
            with pq.ParquetWriter(aside, rows.schemas()[kind], **rows.layout(kind)) as writer:
                for table in tables:
                    writer.write_table(table, row_group_size=GROUP_ROWS)
                    count += table.num_rows

        event = event or kind
        # Of one commit there are several before the ledger names any.
        there = (int(path.stem) for path in (self._path / kind).glob("*.parquet"))
        path = self._path / kind / f"{1 + max(there, default=0):06d}.parquet"
        files.put(path, written, before_rename=lambda: failpoints.reached(f"{event}.written"))
        failpoints.reached(f"{event}.renamed")
        return Segment(str(path.relative_to(self._path)), kind, scope, files.sha256(path), count)

    def tables(
        self,
        kind: str,
        scope: str | None,
        columns: Sequence[str],
        *,
        as_numbers: Sequence[str] = (),
        only: Mapping[str, Collection[str]] | None = None,
        spans: Sequence[range] | None = None,
    ) -> Iterator[Any]:
        """The rows of a scope, or of one scope after the other, in the order of their making: some columns of a group
        of them at a time, those `as_numbers` as dictionaries. `only` names columns of texts, and those of which rows
        are wanted; groups that can't hold any are not read. Nor are those outside of `spans`, which number the rows of
        a scope from 0 on; of what is read, all rows come.

        A writer may merge segments meanwhile. That changes no order, so reading goes on behind the rows that were read.
        """
        wanted = [_Wanted(column, texts) for column, texts in (only or {}).items()]
        for one in self._ledger.scopes(kind) if scope is None else [scope]:
            read = 0
            while (found := self._holding(kind, one, read)) is not None:
                segment, first = found
                try:
                    for count, table in self._groups(segment, columns, as_numbers, wanted, read - first, first, spans):
                        read += count
                        if table is not None:
                            yield table
                except FileNotFoundError as error:
                    if any(segment == still for still in self._ledger.segments(kind, one)):
                        raise self._unreadable(segment, error) from error

    def merge_small(self, kind: str, scope: str) -> None:
        """Put one segment in the place of small ones that follow each other at the end of a scope, if they are many.

        Until the ledger names the large one instead of its parts, these are what is there; then they are removed.
        """
        for least, most in pairwise((0, *_SMALL_ROWS)):
            parts = self._latest(kind, scope, least, most)
            few = sum(part.rows >= least for part in parts) < MERGED_AT_ONCE
            # A damaged part stays as it is: its rows must not get a checksum that says that they are whole.
            if few or not all(map(self.is_intact, parts)):
                continue
            made = self.write(kind, scope, self._regrouped(parts), event="merge")
            self._ledger.replace_segments(parts, made)
            failpoints.reached("merge.committed")
            for part in parts:
                with contextlib.suppress(OSError):  # whoever opens the folder next removes it
                    (self._path / part.path).unlink()
            failpoints.reached("merge.cleared")

    def is_intact(self, segment: Segment) -> bool:
        """Whether its file is there, and is what was written."""
        return files.is_as_written(files.inside(self._path, segment.path), segment.sha256)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _latest(self, kind: str, scope: str, least: int, most: int) -> list[Segment]:
        """The last segments of a scope that have fewer than `most` rows each, without those behind them that have fewer
        than `least`: these wait until they are many."""
        backwards = dropwhile(lambda segment: segment.rows < least, reversed(self._ledger.segments(kind, scope)))
        return list(takewhile(lambda segment: segment.rows < most, backwards))[::-1]

    def _holding(self, kind: str, scope: str, row: int) -> tuple[Segment, int] | None:
        """The segment that holds a row of a scope, and its first row; None behind the last one."""
        first = 0
        for segment in self._ledger.segments(kind, scope):
            if row < first + segment.rows:
                return segment, first
            first += segment.rows
        return None

    def _groups(
        self,
        segment: Segment,
        columns: Sequence[str],
        as_numbers: Sequence[str],
        wanted: Sequence[_Wanted],
        behind: int,
        first: int = 0,
        spans: Sequence[range] | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """Of each group of a segment's rows, from the row `behind` on: how many rows, and those that are wanted, None
        if the group need not be read. `first` is the segment's first row in its scope, whose rows `spans` number.
        Raises FileNotFoundError if there is no such file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(files.inside(self._path, segment.path), read_dictionary=list(as_numbers)) as file:
                if file.metadata.num_rows != segment.rows:
                    held = f"{self._path / segment.path} holds {file.metadata.num_rows} rows"
                    raise StoreError(f"{held}, and the ledger says {segment.rows}.")
                # Threads cost more than they give where there is little to read.
                threads = segment.rows > _MANY_ROWS
                for number in range(file.num_row_groups):
                    group = file.metadata.row_group(number)
                    count = max(0, group.num_rows - behind)
                    table, end = None, first + group.num_rows
                    near = spans is None or any(span.start < end and span.stop > first for span in spans)
                    if count and near and all(one.may_be_in(group) and one.is_in(file, number) for one in wanted):
                        names = dict.fromkeys([*columns, *(one.column for one in wanted)])
                        table = file.read_row_group(number, [*names], use_threads=threads)
                        table = table.slice(group.num_rows - count)
                        for one in wanted:
                            table = one.of(table)
                        table = table.select([*columns])
                    behind, first = max(0, behind - group.num_rows), end
                    yield count, table
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(segment, error) from error

    def _unreadable(self, segment: Segment, error: Exception) -> RunError:
        path = self._path / segment.path
        return RunError(f"{path} can't be read: {error}. Let rsft resume {self._path} mend it.")

    def _regrouped(self, parts: Sequence[Segment]) -> Iterator[Any]:
        """The rows of segments in groups of the usual size."""
        import pyarrow as pa

        waiting: list[Any] = []
        for part in parts:
            for _, table in self._groups(part, rows.schemas()[part.kind].names, (), (), 0):
                waiting.append(table)
                if sum(one.num_rows for one in waiting) >= GROUP_ROWS:
                    whole = pa.concat_tables(waiting)
                    yield whole.slice(0, GROUP_ROWS).combine_chunks()
                    waiting = [whole.slice(GROUP_ROWS)]
        if waiting:
            yield pa.concat_tables(waiting).combine_chunks()


class _Wanted:
    """Rows whose text in a column is one of some."""

    def __init__(self, column: str, texts: Collection[str]) -> None:
        import pyarrow as pa

        self.column = column
        self._texts = pa.array(sorted(texts), type=pa.string())

    def may_be_in(self, group: Any) -> bool:
        """Whether a group of rows may hold some, by its least and greatest text."""
        import pyarrow.compute as pc

        number = next(n for n in range(group.num_columns) if group.column(n).path_in_schema == self.column)
        said = group.column(number).statistics
        if said is None or not said.has_min_max:
            return True
        from_on = pc.greater_equal(self._texts, said.min)
        return bool(pc.any(pc.and_(from_on, pc.less_equal(self._texts, said.max))).as_py())

    def is_in(self, file: Any, number: int) -> bool:
        """Whether a group of rows holds some: its other columns may be a hundred times as large as this one."""
        import pyarrow.compute as pc

        texts = file.read_row_group(number, [self.column], use_threads=False)[self.column]
        return bool(pc.any(pc.is_in(texts, value_set=self._texts)).as_py())

    def of(self, table: Any) -> Any:
        import pyarrow.compute as pc

        return table.filter(pc.is_in(table[self.column], value_set=self._texts))
