"""The rows that a recipe is begun on, as they stand in their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rsft.config.load import bundled_path
from rsft.errors import PromptError
from rsft.prompts import load_rows
from rsft.prompts.rows import Row
from rsft.starting.columns import Column, columns_of

_ROWS = (
    "A file that can be read has lines such as (.jsonl)\n"
    '  {"messages": [{"role": "user", "content": "Where is my parcel?"}], "facts": {"delivery day": "Tuesday"}}\n'
    "or columns such as prompt and answer (.csv, .parquet). Mend the file, or leave the rows out, and say it again."
)


@dataclass(frozen=True)
class Data:
    """Rows as they stand in their files. No `heldout` rows: a share of the others is to be held out."""

    sources: tuple[str, ...]
    rows: Sequence[Row]
    heldout_sources: tuple[str, ...] = ()
    heldout_rows: Sequence[Row] = ()

    @cached_property
    def columns(self) -> dict[str, Column]:
        return columns_of(self.rows)


def read_data(sources: Sequence[str], heldout: Sequence[str] = ()) -> Data:
    """The rows of files or datasets. Raises a UserError with what is wrong, and where."""
    rows, others = _rows(sources), _rows(heldout) if heldout else []
    return Data(tuple(sources), rows, tuple(heldout), others)


def _rows(sources: Sequence[str]) -> list[Row]:
    files = [bundled_path(source) for source in sources]
    with saying_how_rows_look(all(Path(file).is_file() for file in files)):
        return load_rows(files)


@contextmanager
def saying_how_rows_look(wanted: bool = True) -> Iterator[None]:
    """Adds to a PromptError how rows look that can be read, if that is wanted."""
    try:
        yield
    except PromptError as error:
        if not wanted:
            raise
        raise PromptError(f"{error}\n{_ROWS}") from None
