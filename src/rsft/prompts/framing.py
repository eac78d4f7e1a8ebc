"""What a recipe puts around a conversation: its template, and its system message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsft.errors import PromptError
from rsft.types import Message, Prompt


class Framing:
    """From a conversation to what the model reads. Raises PromptError for a template that is none, and where the system
    message is blank, or said twice."""

    def __init__(self, template: str | Mapping[str, str] | None = None, system: str | None = None) -> None:
        if system is not None and not system.strip():
            raise PromptError("The prompts' system message is blank; leave it out, or give a text.")
        if system is not None and isinstance(template, Mapping) and "system" in template:
            raise PromptError(
                "The system message is said twice, by 'system' and by the template's part 'system'; keep one."
            )
        self.system = system
        self.template = None
        if template is not None:
            from rsft.prompts.template import PromptTemplate

            self.template = PromptTemplate(template)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that the template reads by their names, in the order of the alphabet."""
        return self.template.fields if self.template else ()

    @property
    def says_system(self) -> bool:
        """Whether the template writes the system message, whatever the conversation begins with."""
        return self.template is not None and self.template.says_system

    def prompt(self, name: str, conversation: tuple[Message, ...], fields: Mapping[str, Any]) -> Prompt:
        """The prompt of this id. Raises BadRow where the template can't be filled in, PromptError where it may not."""
        messages = self.template.apply(name, conversation, fields) if self.template else conversation
        if self.system is not None and messages[0].role != "system":
            messages = (Message("system", self.system), *messages)
        return Prompt(name, messages, conversation, fields)
