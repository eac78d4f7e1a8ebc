"""A recipe's template: Jinja in a sandbox, evaluated once for each row. Text of the rows is never evaluated."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, UndefinedError, meta
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from rsft.errors import PromptError, nearest
from rsft.prompts.rows import BadRow, printable, quoted, shown
from rsft.prompts.values import encodable
from rsft.types import Message

PARTS = ("system", "user")
_GIVEN = ("messages", "fields", "id")


class PromptTemplate:
    """Compiled templates, one for the last turn, one for the system message, or both.

    A text alone is the last turn's. Templates see `messages` (each with `role` and `content`), `id`, `fields`, and each
    field by its name; a field of one of these three names is `fields.NAME` only. They may use Jinja's filters (less
    `random`) and `items_as_text`. Blocks leave no blank lines, as in chat templates. Raises PromptError for a template
    that is not one.
    """

    def __init__(self, template: str | Mapping[str, str]) -> None:
        parts = {"user": template} if isinstance(template, str) else dict(template)
        if not parts:
            raise PromptError(f"The prompt template is empty; expected a text, or a mapping with {quoted(PARTS)}.")
        environment = _environment()
        self._names: set[str] = set()
        self._parts = {}
        for part, source in parts.items():
            if part not in PARTS:
                raise PromptError(f"The prompt template has a part {shown(part)}; expected {quoted(PARTS)}.")
            if not isinstance(source, str) or not source.strip():
                raise PromptError(f"The prompt template's part '{part}' is {shown(source)}; expected a text.")
            try:
                self._names |= meta.find_undeclared_variables(environment.parse(source))
                self._parts[part] = environment.from_string(source)
            except TemplateSyntaxError as error:
                raise PromptError(_syntax(part, source, error, list(environment.filters))) from None

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it reads by their names, in the order of the alphabet; those of `fields.NAME` aside."""
        return tuple(sorted(self._names - {*_GIVEN, *_environment().globals}))

    @property
    def says_system(self) -> bool:
        """Whether it writes the system message."""
        return "system" in self._parts

    def apply(
        self, prompt_id: str, conversation: tuple[Message, ...], fields: Mapping[str, Any]
    ) -> tuple[Message, ...]:
        """The conversation with the last turn's content, or the system message, or both, as rendered.

        Raises BadRow if a field is missing or a rendered text is empty; PromptError if the sandbox refuses it.
        """
        variables = {**fields, "messages": conversation, "fields": fields, "id": prompt_id}
        texts = {part: self._render(part, variables) for part in self._parts}
        messages = list(conversation)
        if "user" in texts:
            messages[-1] = Message(messages[-1].role, texts["user"])
        if "system" in texts:
            begins = messages[0].role == "system"
            messages[: int(begins)] = [Message("system", texts["system"])]
        return tuple(messages)

    def _render(self, part: str, variables: Mapping[str, Any]) -> str:
        named = f"the template '{part}'"
        try:
            rendered = self._parts[part].render(variables).strip()
        except UndefinedError as error:
            absent = [name for name in self._names - variables.keys() if f"'{name}'" in str(error)]
            hint = "".join(nearest(name, variables) for name in sorted(absent))
            raise BadRow(
                f"{named}{_at(error)}: {printable(f'{error}{hint}')} This row has {quoted(variables)}."
            ) from None
        except SecurityError as error:
            raise PromptError(f"{named}{_at(error)} is refused by the sandbox: {printable(str(error))}") from None
        except Exception as error:  # Whatever an expression of the user's may raise.
            why = printable(f"{type(error).__name__}: {error}"[:300])
            raise BadRow(f"{named}{_at(error)} fails on this row: {why}") from None
        if not rendered:
            raise BadRow(f"{named} renders nothing for this row; expected a text. This row has {quoted(variables)}.")
        return encodable(rendered, named)


class _Missing(StrictUndefined):
    """An undefined value whose error says what there is."""

    @property
    def _undefined_message(self) -> str:
        name = shown(self._undefined_name)
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing:
            return f"it uses {name}, which is not there."
        if isinstance(self._undefined_obj, Mapping):
            return f"it uses {name} of an object that holds {quoted(self._undefined_obj) or 'nothing'}."
        return f"it uses {name} of {shown(self._undefined_obj)}, which has no such part."


def items_as_text(items: Any, verb: str = ": ", between: str = "; ") -> str:
    """`{slot_name: value}` as "slot name: value; ...", or with other words for ": " and "; ".

    Values are texts, numbers, booleans, or lists of these.
    """
    if isinstance(items, Undefined):
        str(items)  # Raises the error that says which field is missing.
    if not isinstance(items, Mapping):
        raise TypeError(f"items_as_text takes an object {{slot: value}}; found {shown(items)}")
    return between.join(f"{str(slot).replace('_', ' ')}{verb}{_said(value, slot)}" for slot, value in items.items())


def _said(value: Any, slot: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list | tuple) and not any(isinstance(inner, list | tuple) for inner in value):
        return ", ".join(_said(inner, slot) for inner in value)
    raise TypeError(f"items_as_text takes texts and numbers; the slot {shown(slot)} holds {shown(value)}")


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=_Missing, autoescape=False, keep_trailing_newline=False, trim_blocks=True, lstrip_blocks=True,
        finalize=_refuse_none,
    )  # fmt: skip
    # Two runs of one recipe must see the same prompts.
    del environment.filters["random"], environment.globals["lipsum"]
    environment.filters["items_as_text"] = items_as_text
    environment.filters["tojson"] = _to_json
    return environment


def _refuse_none(value: Any) -> Any:
    """Called for each value that a template prints. "None" in a prompt is never what was meant."""
    if value is None:
        raise ValueError("an expression is null; give it a default, as in {{ field | default('unknown', true) }}")
    return value


def _to_json(value: Any, indent: int | None = None) -> str:
    """Jinja's own `tojson` writes for HTML: it would put \\u003c for <."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _syntax(part: str, source: str, error: TemplateSyntaxError, filters: list[str]) -> str:
    lines = source.splitlines()
    line = lines[error.lineno - 1].strip() if error.lineno <= len(lines) else ""
    message = printable(error.message or "it is not Jinja.")
    hint = nearest(message.split("'")[1], filters) if message.startswith("No filter named") else ""
    return f"The prompt template '{part}', line {error.lineno}: {message}{hint} The line is {shown(line)}."


def _at(error: Exception) -> str:
    """', line N' of the template in which the error arose, where that is known."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return f", line {lines[-1]}" if lines else ""
