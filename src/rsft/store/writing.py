"""Writing segments: an order says what is to be written and where; whoever carries it out hands back a segment, which
exists from when the ledger names it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rsft import failpoints
from rsft.store import rows
from rsft.store.ledger import Segment
from rsft.store.places import Place

GROUP_ROWS = 131_072
"""What is read, and in a large segment written, at once: some ten megabytes of candidates."""


@dataclass(frozen=True, slots=True)
class Order:
    """A segment that is to be written: Arrow tables of a kind, one after the other, to a place under a name that nobody
    else is ever given; with how many rows they have, where that is known. Its failpoints are called by the event.

    It can be sent to another process if its tables can: a list of them, or `segments.Regrouped`.
    """

    place: Place
    name: str
    kind: str
    scope: str
    tables: Iterable[Any]
    rows: int | None
    event: str


class Writer(Protocol):
    """Who carries out orders. The run's own process does, by default; others can do it for it."""

    def write(self, orders: Sequence[Order]) -> Sequence[Segment]:
        """The segments of these orders, in their order, each written and there for good. The orders' tables are there
        as long as this goes on, and no longer.

        Raises RunError where a place refuses; WriterLost where it is not known what became of an order.
        """


class WriterLost(Exception):
    """Somebody who was to write died, or does not answer. What it wrote, or still writes, nobody will ever name: the
    orders are carried out again, in this process and under other names."""


class Inline:
    """Writes in this process."""

    def write(self, orders: Sequence[Order]) -> Sequence[Segment]:
        return [written(order) for order in orders]


def written(order: Order) -> Segment:
    """Carry out an order. Raises RunError where its place refuses: then there is no such file."""
    import pyarrow.parquet as pq

    count = 0

    def write(aside: Path) -> None:
        nonlocal count
        with pq.ParquetWriter(aside, rows.schemas()[order.kind], **rows.layout(order.kind)) as writer:
            for table in order.tables:
                writer.write_table(table, row_group_size=GROUP_ROWS)
                count += table.num_rows

    sha256 = order.place.put(order.name, write, before=lambda: failpoints.reached(f"{order.event}.written"))
    failpoints.reached(f"{order.event}.renamed")
    return Segment(order.name, order.kind, order.scope, sha256, count)
