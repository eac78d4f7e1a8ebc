"""From a row's columns to its conversation, its fields and its id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rsft.errors import nearest
from rsft.prompts.rows import BadRow, Place, Row, bad, printable, quoted
from rsft.prompts.values import encodable, plain
from rsft.types import ROLES, Message

FORMS = ("messages", "prompt", "conversations", "instruction")
"""The columns that hold a conversation. A row has one of them."""

# ShareGPT's names for who speaks.
_SPEAKERS = {role: role for role in ROLES} | {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "observation": "tool",
    "function_response": "tool",
}
_FORMS_SAID = "'messages' (a list), 'prompt' (a text or a list), 'conversations' (a list) or 'instruction' (a text)"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A row that is a prompt. `id` is what the row says, None if it says nothing."""

    place: Place
    id: str | None
    conversation: tuple[Message, ...]
    fields: dict[str, Any]


def parse(row: Row) -> Parsed:
    """Read a row of any accepted form.

    A conversation that ends with the assistant's turn (Alpaca: an `output`) loses it to the field `reference`. Columns
    that are not part of the conversation become fields. Raises BadRow.
    """
    columns = {encodable(name, "(a column's name)"): plain(value, name) for name, value in row.columns.items()}
    said_id = _id(columns.pop("id", None))
    form = _form(columns)
    reference_from, turns = f"the last turn of '{form}'", []
    reference: str | None = None
    if form == "instruction":
        turns = [Message("user", _instruction(columns))]
        reference_from, reference = "the column 'output'", _output(columns)
    elif form == "prompt" and isinstance(columns[form], str):
        turns = [Message("user", columns[form])]
    else:
        turns = _turns(form, columns[form])
        if turns[-1].role == "assistant":
            reference = turns.pop().content
    if not turns or turns[-1].role not in ("user", "tool"):
        raise BadRow(f"field '{form}' {_ending(turns)}; expected a turn of the user (or a tool) that awaits a reply")
    fields = {name: value for name, value in columns.items() if name not in FORMS}
    if reference is not None:
        if fields.get("reference") not in (None, ""):
            raise BadRow(f"there are two references, the column 'reference' and {reference_from}; expected one of them")
        fields["reference"] = reference
    return Parsed(row.place, said_id, tuple(turns), fields)


def _id(said: Any) -> str | None:
    """The row's id as text, None without one."""
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, str | int):
        raise bad("id", said, "a text or a whole number")
    if not str(said).strip():
        raise bad("id", said, "a text that is not empty (or no 'id' at all)")
    if "\0" in str(said):
        raise bad("id", said, "a text without NUL")
    return str(said)


def _form(columns: dict[str, Any]) -> str:
    """The one column that holds the conversation."""
    present = [name for name in FORMS if columns.get(name) is not None]
    filled = [name for name in present if not _is_blank(columns[name])]
    if len(filled) > 1:
        raise BadRow(f"the columns {quoted(filled)} each hold a conversation; expected one of them: rename the others")
    if filled:
        return filled[0]
    if present:
        raise bad(present[0], columns[present[0]], "a conversation that is not empty")
    raise BadRow(
        f"no column holds a conversation; found {quoted(columns) or 'no columns'}; expected {_FORMS_SAID}. Of another "
        "name? Rename it; of train and heldout, the recipe can say so: prompts.columns: {prompt: NAME}"
    )


def _is_blank(value: Any) -> bool:
    return not value.strip() if isinstance(value, str) else value == []


def _ending(turns: list[Message]) -> str:
    return f"ends with a turn of the {turns[-1].role}" if turns else "holds nothing before the assistant's turn"


def _instruction(columns: dict[str, Any]) -> str:
    """Alpaca's instruction, with its input below, if there is any. Removes `input` from the columns."""
    instruction, more = columns["instruction"], columns.pop("input", None)
    if not isinstance(instruction, str):
        raise bad("instruction", instruction, "a text")
    if more is not None and not isinstance(more, str):
        raise bad("input", more, "a text")
    return f"{instruction}\n\n{more}" if more and more.strip() else instruction


def _output(columns: dict[str, Any]) -> str | None:
    """Alpaca's output. Removes it from the columns."""
    output = columns.pop("output", None)
    if output is not None and not isinstance(output, str):
        raise bad("output", output, "a text")
    return output if output and output.strip() else None


def _turns(form: str, said: Any) -> list[Message]:
    if not isinstance(said, list):
        raise bad(form, said, "a list of turns" if form != "prompt" else "a text or a list of turns")
    return [_turn(f"{form}[{place}]", turn) for place, turn in enumerate(said)]


def _turn(name: str, turn: Any) -> Message:
    """One turn: {role, content}, or ShareGPT's {from, value}."""
    if not isinstance(turn, Mapping):
        raise bad(name, turn, "an object with 'role' and 'content'")
    for key in ("tool_calls", "function_call"):
        if turn.get(key):
            raise bad(f"{name}.{key}", turn[key], "turns of text alone; write a call into the turn's content")
    who, what = ("from", "value") if "from" in turn else ("role", "content")
    for key in (who, what):
        if key not in turn:
            raise bad(name, turn, f"'{who}' and '{what}'")
    role, roles = turn[who], _SPEAKERS if who == "from" else {role: role for role in ROLES}
    if not isinstance(role, str) or role not in roles:
        hint = printable(nearest(str(role)[:40], roles))
        raise bad(f"{name}.{who}", role, f"one of {', '.join(roles)}.{hint}")
    return Message(roles[role], _content(f"{name}.{what}", turn[what]))


def _content(name: str, said: Any) -> str:
    """A turn's text. Parts of text, as in OpenAI's API, are joined by line ends."""
    if isinstance(said, list) and said:
        for place, part in enumerate(said):
            if not (isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)):
                raise bad(f"{name}[{place}]", part, "a part {type: text, text: ...}; images and sounds can't be used")
        said = "\n".join(part["text"] for part in said)
    if not isinstance(said, str):
        raise bad(name, said, "a text")
    if not said.strip():
        raise bad(name, said, "a text that is not empty")
    return said
