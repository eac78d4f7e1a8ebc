"""Rows of tables: CSV, Parquet, and datasets of the hub."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rsft.prompts.rows import BadRow, Place, Problem, Row, Unreadable, printable, quoted
from rsft.prompts.sources import Source
from rsft.prompts.text import MAX_LINE, decoded, lines, parsed_json

_BATCH = 1000
# Cells of these columns are JSON if they look like it; a CSV file has no other way to hold them.
_JSON_CELLS = ("messages", "conversations", "facts", "prompt")


def read_csv(source: Source) -> Iterator[Row | Problem]:
    with _large_cells():
        reader = csv.reader(_decoded_lines(source), strict=True)
        header: list[str] | None = None
        while True:
            place = Place(source.label, reader.line_num + 1)
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise Unreadable(place, f"is not CSV from here on: {error}") from None
            if not cells:  # A blank line.
                continue
            if header is None:
                header = _header(place, cells)
            elif len(cells) != len(header):
                yield Problem(place, f"has {len(cells)} cells; expected {len(header)}, for {quoted(header)}")
            else:
                try:
                    yield Row(place, {name: _cell(name, cell) for name, cell in zip(header, cells, strict=True)})
                except BadRow as error:
                    yield Problem(place, str(error))


def _decoded_lines(source: Source) -> Iterator[str]:
    for place, line in lines(source):
        try:
            yield decoded(line)
        except BadRow as error:
            raise Unreadable(place, str(error)) from None


@contextmanager
def _large_cells() -> Iterator[None]:
    """The csv module's limit is one for the whole process, and too small for conversations."""
    before = csv.field_size_limit(MAX_LINE)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _header(place: Place, names: list[str]) -> list[str]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Unreadable(place, f"names the column {quoted(twice)} twice; expected a name of its own for each column")
    if not all(names):
        raise Unreadable(place, f"names the columns {quoted(names)}; expected a name for each column")
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        raise Unreadable(place, f"names the one column {quoted(names)}; expected columns separated by commas")
    return names


def _cell(name: str, cell: str) -> Any:
    if name == "id" and not cell:
        return None
    if name not in _JSON_CELLS or not cell.lstrip().startswith(("[", "{")):
        return cell
    try:
        value = parsed_json(cell)
    except BadRow as error:
        if name == "prompt":  # A prompt that merely begins with a bracket is a text.
            return cell
        raise BadRow(f"field '{name}' {error}") from None
    turns = isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value)
    return cell if name == "prompt" and not turns else value


def read_parquet(source: Source) -> Iterator[Row | Problem]:
    import pyarrow.parquet

    whole = Place(source.label)
    try:
        with pyarrow.parquet.ParquetFile(source.path) as file:
            names = file.schema_arrow.names
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise Unreadable(whole, f"has the column {quoted(twice)} twice")
            number = 0
            for batch in file.iter_batches(batch_size=_BATCH):
                for record in batch.to_pylist(maps_as_pydicts="strict"):
                    number += 1
                    yield Row(Place(source.label, number, "row"), _without_nulls(record))
    except Unreadable:
        raise
    except Exception as error:  # A damaged file makes pyarrow raise all kinds.
        raise Unreadable(whole, f"is not a readable Parquet file: {_first_line(error)}") from None


def read_hub(source: Source) -> Iterator[Row | Problem]:
    import datasets

    try:
        # Nothing here may run a dataset's own code: `trust_remote_code` is never passed.
        rows = datasets.load_dataset(source.path, source.config, split=source.split)
        for number, record in enumerate(rows, 1):
            yield Row(Place(source.label, number, "row"), _without_nulls(dict(record)))
    except Exception as error:
        text = f"is neither a file nor a dataset that can be loaded: {type(error).__name__}: {_first_line(error)}"
        raise Unreadable(Place(source.label), text) from None


def _without_nulls(value: Any) -> Any:
    """Without the null members of structs: a table gives all rows the same members, so null there means absent."""
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _first_line(error: Exception) -> str:
    return printable((str(error).splitlines() or [""])[0][:300])
