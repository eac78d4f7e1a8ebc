"""Rows whose columns have other names than rsft's: which column is read as what."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from rsft.errors import PromptError, nearest
from rsft.prompts.columns import FORMS
from rsft.prompts.rows import BadRow, Row, quoted


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a file, or of its texts only what stands behind the last `behind` (all, where that is not there)."""

    name: str
    behind: str | None = None

    def of(self, value: Any) -> Any:
        if self.behind is None or not isinstance(value, str):
            return value
        return value.rpartition(self.behind)[2].strip()


class Naming:
    """What rsft's words (prompt, answer, tests, ...) are called in a file: word → column.

    Rows that lack the column which is named for the conversation are not of that kind: they are read as they stand.
    Raises PromptError where the conversation is named twice.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = dict(columns)
        forms = [word for word in self._columns if word in FORMS]
        if len(forms) > 1:
            raise PromptError(f"prompts.columns says the conversation twice, as {' and '.join(forms)}; keep one.")
        self._form = forms[0] if forms else None
        self._sources: dict[str, None] = {}
        self._missing = set(self._columns)
        self._had: dict[str, None] = {}

    def of(self, row: Row) -> Row:
        """The row by rsft's words. A column in the way of one gets another name.

        Raises BadRow for a row that has no conversation, neither in the named column nor in one that rsft knows.
        """
        if not self._columns or not self._is_named(row):
            return row
        self._sources[row.place.source] = None
        self._had |= dict.fromkeys(row.columns)
        said = dict(row.columns)
        there = {word: column for word, column in self._columns.items() if column.name in said}
        self._missing -= there.keys()
        new = {word: column.of(said[column.name]) for word, column in there.items()}
        for column in there.values():
            said.pop(column.name, None)
        aside = [form for form in FORMS if self._form is not None and form != self._form]
        for name in [*aside, *new]:
            if name in said:
                said[free_name(name, {*said, *new})] = said.pop(name)
        return Row(row.place, said | new)

    def check(self) -> None:
        """Raise PromptError if a column that is named was in none of the rows that have the conversation's."""
        wrong = [word for word in self._columns if word in self._missing]
        if self._sources and wrong:
            name = self._columns[wrong[0]].name
            raise PromptError(
                f"prompts.columns reads {wrong[0]} from the column {quoted([name])}, which no row of "
                f"{quoted(self._sources)} has.{nearest(name, self._had)} The rows have {quoted(self._had)}."
            )

    def _is_named(self, row: Row) -> bool:
        if self._form is None or self._columns[self._form].name in row.columns:
            return True
        if any(row.columns.get(form) for form in FORMS):
            return False
        name = self._columns[self._form].name
        raise BadRow(
            f"has no column {quoted([name])}, which prompts.columns names for the conversation; found "
            f"{quoted(row.columns) or 'no columns'}.{nearest(name, row.columns)}"
        )


def free_name(name: str, taken: Collection[str]) -> str:
    """Another name for a column that is in the way, which no other has."""
    name = f"other_{name}"
    while name in taken:
        name = f"other_{name}"
    return name
