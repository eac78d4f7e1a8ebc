"""From a source to its rows, whatever the format. A row that can't be read becomes a Problem, and reading goes on."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from rsft.prompts.rows import BadRow, Place, Problem, Row, Unreadable, printable, shown
from rsft.prompts.sources import HUB, Source
from rsft.prompts.tables import read_csv, read_hub, read_parquet
from rsft.prompts.text import BOM, decoded, lines, open_source, parsed_json

_MAX_LIST = 2**30


def read_rows(source: Source) -> Iterator[Row | Problem]:
    """The rows of a source in its order. Streams, except for .json. What can't be read at all ends with a Problem."""
    whole = Place(source.label)
    try:
        yield from _READERS[source.format.removesuffix(".gz")](source)
    except Unreadable as unreadable:
        yield unreadable.problem
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        yield Problem(
            whole, f"is not a whole gzip file ({printable(str(error))}); compress it again, or fetch it again"
        )
    except OSError as error:
        yield Problem(whole, f"can't be read: {printable(error.strerror or str(error))}")


def _row(place: Place, value: Any) -> Row | Problem:
    if isinstance(value, dict):
        return Row(place, value)
    return Problem(place, f"holds {shown(value)}; expected a JSON object with a column for the conversation")


def _jsonl(source: Source) -> Iterator[Row | Problem]:
    for place, line in lines(source):
        if line.isspace() or not line:
            continue
        try:
            yield _row(place, parsed_json(decoded(line.rstrip(b"\r\n"))))
        except BadRow as error:
            yield Problem(place, str(error))


def _json_list(source: Source) -> Iterator[Row | Problem]:
    whole = Place(source.label)
    with open_source(source) as file:
        raw = file.read(_MAX_LIST + 1).removeprefix(BOM)
    if len(raw) > _MAX_LIST:
        raise Unreadable(whole, f"is larger than {_MAX_LIST // 2**30} GiB; write such data as .jsonl")
    if not raw.strip():
        return
    try:
        rows = parsed_json(decoded(raw))
    except BadRow as error:
        hint = "; if it holds one object on each line, name it .jsonl" if "Extra data" in str(error) else ""
        raise Unreadable(whole, f"{error}{hint}") from None
    if not isinstance(rows, list):
        raise Unreadable(whole, f"holds {shown(rows)}; expected a list of objects")
    for number, value in enumerate(rows, 1):
        yield _row(Place(source.label, number, "row"), value)


_READERS: dict[str, Callable[[Source], Iterator[Row | Problem]]] = {
    ".jsonl": _jsonl,
    ".json": _json_list,
    ".csv": read_csv,
    ".parquet": read_parquet,
    HUB: read_hub,
}
