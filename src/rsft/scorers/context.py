"""What of a prompt a reply is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from rsft.prompts.template import items_as_text
from rsft.types import Message, Prompt


def _as_list(said: Any) -> Any:
    return [said] if isinstance(said, str) else said


Fields = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
"""Names of a prompt's fields; one alone may be said without a list."""


@dataclass(frozen=True, slots=True)
class Context:
    """A conversation as people wrote it, and the texts of some of the prompt's fields by their names."""

    turns: tuple[Message, ...]
    given: Mapping[str, str]

    @classmethod
    def of(cls, prompt: Prompt, fields: Sequence[str] = ()) -> Context:
        """Fields hold a text, a mapping of slots to values, or a list of values; what is empty is left out.

        Raises ValueError for a field that the prompt does not have: a misspelled one must not count as empty.
        """
        absent = [name for name in fields if name not in prompt.fields]
        if absent:
            raise ValueError(f"the prompt has no field '{absent[0]}'")
        given = {name: _as_text(prompt.fields[name]) for name in fields}
        return cls(prompt.conversation, {name: text for name, text in given.items() if text})

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation with what is given behind its last turn."""
        if not self.given:
            return self.turns
        last = self.turns[-1]
        return (*self.turns[:-1], Message(last.role, "\n".join([last.content, *self.given.values()])))


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return items_as_text({slot: said for slot, said in value.items() if said is not None}, " is ", ", ")
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    return str(value).strip()
