"""Rows into a file, some at a time: JSON Lines, or Parquet, by the file's name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rsft.exporting.rows import Row
from rsft.training.chat_format import json_line

# Rows of a group in Parquet, and what is held at once.
_GROUP = 8192


def write_rows(file: Path, rows: Iterable[Row], scorers: Sequence[str]) -> int:
    """Write them, and say how many they are. The scores of rows are of these scorers.

    JSON has every text as it is. Parquet is UTF-8, which has no halves of characters (lone surrogates): each becomes
    U+FFFD there.
    """
    return _parquet(file, rows, scorers) if file.suffix == ".parquet" else _json_lines(file, rows)


def _json_lines(file: Path, rows: Iterable[Row]) -> int:
    count = 0
    with file.open("w", encoding="utf-8", newline="\n") as out:
        for row in rows:
            out.write(json_line(row) + "\n")
            count += 1
    return count


def _parquet(file: Path, rows: Iterable[Row], scorers: Sequence[str]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, count = iter(rows), 0
    groups: Iterator[list[Row]] = iter(lambda: list(islice(rows, _GROUP)), [])
    first = next(groups, [])
    schema = pa.schema([(name, _kind(name, scorers)) for name in (first[0] if first else {})])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while first:
            writer.write_table(pa.Table.from_pylist([_utf8(row) for row in first], schema=schema))
            count += len(first)
            first = next(groups, [])
    return count


def _kind(column: str, scorers: Sequence[str]) -> Any:
    """The Arrow type of a column, which is the same in all formats."""
    import pyarrow as pa

    def turns(speaker: str, said: str) -> Any:
        return pa.list_(pa.struct([(speaker, pa.string()), (said, pa.string())]))

    key = [("prompt_id", pa.string()), ("iteration", pa.int32())]
    key += [("sample_index", pa.int32()), ("generator", pa.string())]
    if column == "conversations":
        return turns("from", "value")
    if column in ("messages", "prompt", "completion", "chosen", "rejected"):
        return turns("role", "content")
    if column.endswith("scores"):
        return pa.struct([(name, pa.float64()) for name in scorers])
    if column.endswith("_key"):
        return pa.struct(key)
    return {"label": pa.bool_()}.get(column) or dict(key).get(column, pa.string())


def _utf8(said: Any) -> Any:
    if isinstance(said, str):
        return said.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(said, dict):
        return {name: _utf8(value) for name, value in said.items()}
    return [_utf8(one) for one in said] if isinstance(said, list) else said
