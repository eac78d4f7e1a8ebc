"""Lines, UTF-8 and JSON, read strictly and with bounds."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any

from rsft.prompts.rows import BadRow, Place, Unreadable, shown
from rsft.prompts.sources import Source

MAX_LINE = 64 * 2**20
"""The most bytes of a line. A longer one is a mistake, or an attack: a small gzip file can hold endless ones."""

BOM = b"\xef\xbb\xbf"


def open_source(source: Source) -> IO[bytes]:
    """The bytes of a file, decompressed."""
    if source.format.endswith(".gz"):
        return gzip.open(source.path, "rb")  # type: ignore[return-value]
    return open(source.path, "rb")


def lines(source: Source) -> Iterator[tuple[Place, bytes]]:
    """The lines of a text file without a byte order mark. Ends are `\\n` alone: JSON text may hold other separators."""
    with open_source(source) as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            place = Place(source.label, number)
            if len(line) > MAX_LINE:
                raise Unreadable(place, f"is longer than {MAX_LINE // 2**20} MiB; expected one row on each line")
            yield place, line.removeprefix(BOM) if number == 1 else line


def decoded(raw: bytes) -> str:
    """The text of UTF-8 bytes. Raises BadRow with the byte that is not, and with what the bytes may be instead."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        what = f"byte {error.start + 1} is 0x{raw[error.start]:02x}, which is not UTF-8"
        if raw.startswith(b"\x1f\x8b"):
            raise BadRow(f"{what}: this is a gzip file; add .gz to its name") from None
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise BadRow(f"{what}: this looks like UTF-16; save the file as UTF-8") from None
        raise BadRow(f"{what}; expected UTF-8 text") from None


def parsed_json(text: str) -> Any:
    """Parse JSON as its standard has it: no NaN, no infinity, and no object that says one key twice. Raises BadRow."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        near = text[max(0, error.pos - 20) : error.pos + 20]
        where = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise BadRow(f"is not JSON: {error.msg} at {where}, near {shown(near)}") from None
    except RecursionError:
        raise BadRow("is not usable JSON: it is nested too deeply") from None
    except ValueError as error:  # From the two below, or a number of thousands of digits.
        raise BadRow(f"is not usable JSON: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"the key {shown(counts.most_common(1)[0][0])} occurs twice in one object")
    return said


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
