"""Segments: immutable Parquet files of rows. They are written and read a group of rows at a time, however many there
are, and small ones that follow each other become one."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import compress, dropwhile, pairwise, takewhile
from pathlib import Path
from typing import Any

from rsft import failpoints
from rsft.errors import RunError, StoreError
from rsft.store import rows, writing
from rsft.store.ledger import Ledger, Segment
from rsft.store.places import Place
from rsft.store.whereabouts import Whereabouts
from rsft.store.writing import GROUP_ROWS, Inline, Order, Writer, WriterLost

_MANY_ROWS = 100_000
# As many small segments in a row become one; the sizes are those under which a segment is small. So a scope has at most
# some 2 × 64 small ones, whatever the size of commits, and a row is written twice or three times in all.
MERGED_AT_ONCE = 64
_SMALL_ROWS = (16_384, 524_288)


class Segments:
    """The segments of a run folder, as Arrow tables. The ledger alone says which there are."""

    def __init__(self, path: Path, ledger: Ledger, places: Whereabouts) -> None:
        self._path = path
        self._ledger = ledger
        self._places = places
        self._numbers: dict[str, int] = {}
        self.writer: Writer = Inline()

    def write(self, kind: str, scope: str, tables: Iterable[Any]) -> Segment:
        """Write a segment that the ledger is still to name, a table after the other, in this process."""
        return writing.written(self._order(kind, scope, tables))

    def write_together(self, tables: Mapping[tuple[str, str], Any]) -> list[Segment]:
        """Write a segment for each table, by kind and scope, that the ledger is still to name."""
        return self._written([self._order(*of, [table], len(table)) for of, table in tables.items()])

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
        place = self._places.of(kind)
        wanted = [_Wanted(column, texts) for column, texts in (only or {}).items()]
        for one in self._ledger.scopes(kind) if scope is None else [scope]:
            read = 0
            while (found := self._holding(kind, one, read)) is not None:
                segment, first = found
                try:
                    groups = _groups(
                        self._path, place, segment, columns, as_numbers, wanted, read - first, first, spans
                    )
                    for count, table in groups:
                        read += count
                        if table is not None:
                            yield table
                except FileNotFoundError as error:
                    if any(segment == still for still in self._ledger.segments(kind, one)):
                        raise _unreadable(self._path, place, segment, error) from error

    def merge_small(self, kind: str, scope: str) -> None:
        """Put one segment in the place of small ones that follow each other at the end of a scope, if they are many.

        Until the ledger names the large one instead of its parts, these are what is there; then they are removed.
        """
        for least, most in pairwise((0, *_SMALL_ROWS)):
            parts = self._latest(kind, scope, least, most)
            few = sum(part.rows >= least for part in parts) < MERGED_AT_ONCE
            # A damaged part stays as it is: its rows must not get a checksum that says that they are whole.
            if few or self.damaged(parts):
                continue
            place = self._places.of(kind)
            regrouped = Regrouped(str(self._path), place, tuple(parts))
            (made,) = self._written([self._order(kind, scope, regrouped, regrouped.rows, "merge")])
            self._ledger.replace_segments(parts, made)
            failpoints.reached("merge.committed")
            for part in parts:
                with contextlib.suppress(OSError, RunError):  # whoever opens the folder next removes it
                    place.remove(part.path)
            failpoints.reached("merge.cleared")

    def damaged(self, segments: Sequence[Segment]) -> list[Segment]:
        """Those whose files are not there, or are not what was written."""
        return [
            segment for kind in rows.KINDS for segment in self._damaged(kind, [s for s in segments if s.kind == kind])
        ]

    def set_aside(self, segment: Segment, to: Path) -> None:
        """Move a segment's file, if it is there, out of its place."""
        self._places.of(segment.kind).move_out(segment.path, to)

    def remove_orphans(self) -> None:
        """Remove the files that the ledger does not name. What a writer that was lost writes from now on is found the
        next time."""
        for kind in rows.KINDS:
            place, named = self._places.of(kind), {segment.path for segment in self._ledger.segments(kind)}
            for name in place.names(kind):
                if name not in named:
                    place.remove(name)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _order(
        self, kind: str, scope: str, tables: Iterable[Any], rows: int | None = None, event: str | None = None
    ) -> Order:
        return Order(self._places.of(kind), self._fresh_name(kind), kind, scope, tables, rows, event or kind)

    def _fresh_name(self, kind: str) -> str:
        """A name that no file of the kind ever had. The number shows the order in which they were begun; what makes it
        the only one is chance, since somebody who wrote for a process that died may still be at it."""
        if kind not in self._numbers:
            numbered = (re.match(r"\d+", Path(segment.path).name) for segment in self._ledger.segments(kind))
            self._numbers[kind] = max((int(found[0]) for found in numbered if found), default=0)
        self._numbers[kind] += 1
        return f"{kind}/{self._numbers[kind]:06d}-{secrets.token_hex(4)}.parquet"

    def _written(self, orders: Sequence[Order]) -> list[Segment]:
        """Have orders carried out by whoever writes; in this process where that one is lost."""
        try:
            made = list(self.writer.write(orders))
        except WriterLost:
            orders = [replace(order, name=self._fresh_name(order.kind)) for order in orders]
            made = list(Inline().write(orders))
        ordered = [(order.name, order.kind, order.scope, order.rows) for order in orders]
        if ordered != [(one.path, one.kind, one.scope, one.rows) for one in made]:
            raise StoreError(f"{self._path}: {ordered} was to be written, and what was written is {made}.")
        return made

    def _damaged(self, kind: str, segments: Sequence[Segment]) -> Iterator[Segment]:
        place = self._places.of(kind)

        def is_damaged(segment: Segment) -> bool:
            return not place.is_as_written(segment.path, segment.sha256)

        if place.looks_at_once == 1:
            return filter(is_damaged, segments)
        with ThreadPoolExecutor(place.looks_at_once) as threads:
            return compress(segments, list(threads.map(is_damaged, segments)))

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


@dataclass(frozen=True, slots=True)
class Regrouped:
    """The rows of segments in groups of the usual size, as often as they are asked for, in whatever process."""

    run: str
    place: Place
    parts: tuple[Segment, ...]

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    def __iter__(self) -> Iterator[Any]:
        import pyarrow as pa

        waiting: list[Any] = []
        for part in self.parts:
            for _, table in _groups(self.run, self.place, part, rows.schemas()[part.kind].names, (), (), 0):
                waiting.append(table)
                if sum(one.num_rows for one in waiting) >= GROUP_ROWS:
                    whole = pa.concat_tables(waiting)
                    yield whole.slice(0, GROUP_ROWS).combine_chunks()
                    waiting = [whole.slice(GROUP_ROWS)]
        if waiting:
            yield pa.concat_tables(waiting).combine_chunks()


def _groups(
    run: str | Path,
    place: Place,
    segment: Segment,
    columns: Sequence[str],
    as_numbers: Sequence[str],
    wanted: Sequence[_Wanted],
    behind: int,
    first: int = 0,
    spans: Sequence[range] | None = None,
) -> Iterator[tuple[int, Any]]:
    """Of each group of a segment's rows, from the row `behind` on: how many rows, and those that are wanted, None
    if the group need not be read. `first` is the segment's first row in its scope, whose rows `spans` number. Raises
    FileNotFoundError if there is no such file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = place.source(segment.path, small=segment.rows < _SMALL_ROWS[0])
        with pq.ParquetFile(source, read_dictionary=list(as_numbers), pre_buffer=place.pre_buffers) as file:
            if file.metadata.num_rows != segment.rows:
                held = f"{place.named(segment.path)} holds {file.metadata.num_rows} rows"
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
        raise _unreadable(run, place, segment, error) from error


def _unreadable(run: str | Path, place: Place, segment: Segment, error: Exception) -> RunError:
    return RunError(f"{place.named(segment.path)} can't be read: {error}. Let rsft resume {run} mend it.")


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
