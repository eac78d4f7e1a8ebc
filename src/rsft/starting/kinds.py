"""The kinds of bots that a recipe can be begun for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of bot: what it is, and the fields of a row that its scorers read, if they are there."""

    name: str
    title: str
    fields: tuple[str, ...] = ()

    @property
    def template(self) -> str:
        """The text that its recipe is filled from."""
        return template(f"{self.name}.yaml.j2")


_ALL = (
    Kind("service", "customer service: facts, policy, tone", ("facts", "policy")),
    Kind("assistant", "a personal assistant: instructions, tool calls in JSON", ("constraints", "schema")),
    Kind("character", "a companion or character: persona, novelty", ("persona",)),
    Kind("social", "social chat: relevance, safety"),
    Kind("maths", "maths with answers that can be verified", ("answer",)),
    Kind("code", "Python code with tests", ("tests", "setup")),
    Kind("distillation", "learning from a stronger, hosted model, with a judge"),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}


def template(name: str) -> str:
    """A file of `recipes/kinds`."""
    return (resources.files("rsft") / "recipes" / "kinds" / name).read_text(encoding="utf-8")
