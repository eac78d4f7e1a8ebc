"""How a file's rows become prompts of a recipe: which column is read as what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rsft.errors import PromptError, nearest
from rsft.prompts.columns import FORMS
from rsft.prompts.naming import free_name
from rsft.prompts.rows import Row, quoted
from rsft.starting.columns import CONVERSATIONS, FIELDS, Column, Holds, unfolded
from rsft.starting.kinds import Kind

_SAY = "Say which column is the conversation: --column messages=NAME (a list of turns) or --column prompt=NAME (a text)"
# What GSM8K writes before the answer at the end of a solution.
_FINAL = "####"


@dataclass(frozen=True, slots=True)
class Reading:
    """Which column is read as what. `columns` goes from the recipe's word (messages, prompt, facts, ...) to the file's.

    `folded` are columns whose JSON is to be read, `aside` further columns with a conversation, which the loader would
    take for a second one; `finals` is whether answers stand at the end of solutions, behind '####'.
    """

    columns: Mapping[str, str]
    folded: frozenset[str] = frozenset()
    aside: tuple[str, ...] = ()
    finals: bool = False

    @property
    def renames(self) -> dict[str, str]:
        """The columns that have another name in the file."""
        return {new: old for new, old in self.columns.items() if new != old}

    @property
    def changes(self) -> bool:
        """Whether rows must be written anew for the loader to read them so."""
        return bool(self.renames or self.folded or self.aside or self.finals)

    @property
    def conversation(self) -> str:
        """The recipe's word for the column that holds the conversation."""
        return next(new for new in self.columns if new in FORMS)

    def told(self) -> list[str]:
        """What is done to rows, a line each; nothing where they are read as they are."""
        lines = [f"the column '{old}' is read as {new}" for new, old in self.renames.items()]
        lines += [f"the column '{name}' holds JSON as text, which is read" for name in sorted(self.folded)]
        lines += [f"the column '{name}' is set aside: it holds a second conversation" for name in self.aside]
        if self.finals:
            lines.append(f"what stands behind '{_FINAL}' is the answer, and the whole solution the reference")
        return lines

    def of(self, row: Row) -> Row:
        """The row as it is read. No row and no cell is lost: a column in the way gets another name."""
        said = {name: unfolded(value) if name in self.folded else value for name, value in row.columns.items()}
        moved = {new: said.pop(old) for new, old in self.renames.items() if old in said}
        for name in (*self.aside, *moved):
            if name in said:
                said[free_name(name, {*said, *moved})] = said.pop(name)
        said |= moved
        if self.finals and isinstance(said.get("answer"), str):
            said.setdefault("reference", said["answer"])
            said["answer"] = said["answer"].rpartition(_FINAL)[2].strip()
        return Row(row.place, said)


def propose(rows: Sequence[Row], columns: Mapping[str, Column], kind: Kind, said: Mapping[str, str]) -> Reading:
    """Which column is read as what: what is `said` (word → column; an empty column leaves it out), and for the rest
    what the columns' names and contents suggest. Raises PromptError where no column can be told to hold a conversation.
    """
    _check(said, columns)
    form, column = _conversation(columns, said)
    chosen: dict[str, str] = {form: column}
    has_reference = _brings_reference(rows, form, column, columns)
    for name in (*kind.fields, "reference"):
        if name in said:
            chosen |= {name: said[name]} if said[name] else {}
        elif (name != "reference" or not has_reference) and (found := _field(name, columns, chosen)):
            chosen[name] = found
    chosen |= {new: old for new, old in said.items() if old and new not in chosen and new not in FORMS}
    aside = [name for name in FORMS if name in columns and columns[name].filled and name not in chosen.values()]
    folded = [old for new, old in chosen.items() if _unfolds(new, columns[old])]
    finals = "answer" in kind.fields and "answer" in chosen and _are_finals(rows, chosen["answer"])
    return Reading(chosen, frozenset(folded), tuple(aside), finals)


def _check(said: Mapping[str, str], columns: Mapping[str, Column]) -> None:
    for new, old in said.items():
        if new not in (*FORMS, *FIELDS):
            known = ", ".join((*FORMS, *FIELDS))
            raise PromptError(f"--column {new}={old}: '{new}' is none of {known}.{nearest(new, (*FORMS, *FIELDS))}")
        if old and old not in columns:
            raise PromptError(
                f"--column {new}={old}: there is no column {quoted([old])}.{nearest(old, columns)} "
                f"The file has {quoted(columns)}."
            )
    if len(forms := [new for new, old in said.items() if new in FORMS and old]) > 1:
        raise PromptError(f"--column says the conversation twice, as {' and '.join(forms)}; keep one.")
    twice = [old for old in said.values() if old and list(said.values()).count(old) > 1]
    if twice:
        raise PromptError(f"--column reads the column {quoted([twice[0]])} as two things; keep one.")


def _conversation(columns: Mapping[str, Column], said: Mapping[str, str]) -> tuple[str, str]:
    """The recipe's word for the conversation, and its column."""
    for form in FORMS:
        if said.get(form):
            return form, said[form]
    free = {name: column for name, column in columns.items() if name not in said.values()}
    known = [name for name in FORMS if name in free and _is_of_form(name, free[name])]
    if known:
        return known[0], known[0]
    ordered = [name for word in CONVERSATIONS for name in free if name.casefold() == word]
    ordered += [name for name in free if name not in ordered]
    turns = [name for name in ordered if free[name].is_turns]
    if turns:
        return "messages", turns[0]
    texts = [name for name in ordered if free[name].holds == {"text"}]
    named = [name for name in texts if name.casefold() in (*CONVERSATIONS, *FORMS)]
    if named or len(texts) == 1:
        return "prompt", (named or texts)[0]
    filled = [name for name in FORMS if name in free and free[name].filled]
    if filled:  # it is malformed, and the loader says where and how
        return filled[0], filled[0]
    mute = [name for name in free if free[name].holds == {"texts"}]
    why = f" {quoted(mute[:1])} holds lists of texts, which don't say who speaks." if mute else ""
    raise PromptError(f"No column can be told to hold the conversation; the file has {quoted(columns)}.{why} {_SAY}.")


def _is_of_form(form: str, column: Column) -> bool:
    """Whether the loader finds in this column of a known name what it looks for. JSON as text counts."""
    kinds: dict[str, tuple[Holds, ...]] = {"prompt": ("text", "turns"), "instruction": ("text",)}
    return column.is_one_of(kinds.get(form, ("turns",)))


def _brings_reference(rows: Sequence[Row], form: str, column: str, columns: Mapping[str, Column]) -> bool:
    """Whether the loader itself takes a reference from some row's conversation, or a column has that name."""
    if "reference" in columns and columns["reference"].filled:
        return False  # it is read as what it is called
    if form == "instruction":
        return "output" in columns
    for row in rows:
        turns = unfolded(row.columns.get(column))
        last = turns[-1] if isinstance(turns, list) and turns and isinstance(turns[-1], Mapping) else {}
        if last.get("role", last.get("from")) not in ("user", "tool", "human", "observation", "system", None):
            return True
    return False


def _field(name: str, columns: Mapping[str, Column], chosen: Mapping[str, str]) -> str | None:
    """The column that holds this field, by its name and by what it holds."""
    field = FIELDS[name]
    for word in (name, *field.also):
        for column in columns.values():
            fits = column.is_one_of(field.holds)
            if column.name.casefold() == word and fits and column.name not in chosen.values():
                return column.name
    return None


def _unfolds(new: str, column: Column) -> bool:
    """Whether the column's JSON is to be read: where it is no plain text that is wanted."""
    if not column.folded:
        return False
    if new in FORMS:
        return column.is_turns
    return new in FIELDS and column.is_one_of(FIELDS[new].holds)


def _are_finals(rows: Sequence[Row], column: str) -> bool:
    said: list[Any] = [row.columns[column] for row in rows if row.columns.get(column)]
    return bool(said) and all(isinstance(text, str) and _FINAL in text for text in said)
