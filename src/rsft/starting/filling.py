"""A kind's recipe, filled in with what was found in the data."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound

from rsft.prompts.rows import printable
from rsft.starting.columns import FIELDS
from rsft.starting.kinds import Kind, template
from rsft.starting.looking import Found, Looked
from rsft.types import Prompt

# More rows than these are no help in a first run, whose iterations should be minutes apart.
_FIRST_TRAIN = 256
_FIRST_HELDOUT = 300
_SAMPLED_PROMPTS = 64


@dataclass(frozen=True, slots=True)
class Filling:
    """What a recipe is filled with, beside what its prompts say. `hosted` are a distillation's models and server."""

    file: str
    models: Sequence[str]
    train: Sequence[str]
    heldout: Sequence[str]
    train_count: int
    heldout_count: int
    hosted: Mapping[str, str | None]


def fill(kind: Kind, said: Filling, looked: Looked, prompts: Sequence[Prompt]) -> str:
    """The recipe's text. `looked` tells of all prompts, held-out ones too."""
    environment = _environment()
    fields = looked.fields
    schema = _one_schema(prompts) if fields["schema"].everywhere else None
    usable = {name for name, found in fields.items() if found.everywhere and (name != "schema" or schema is not None)}
    # The commands in comments are to be typed as they stand.
    text = environment.from_string(kind.template).render(
        kind=kind,
        file=shlex.quote(printable(said.file)),
        name=printable(said.file.rpartition("/")[2].rpartition(".")[0]),
        models=_flow(list(said.models)),
        train=_flow(_one_or_all(said.train)),
        heldout=_flow(_one_or_all(said.heldout)),
        train_count=said.train_count,
        heldout_count=said.heldout_count,
        train_limit=_FIRST_TRAIN if said.train_count > _FIRST_TRAIN else None,
        heldout_limit=_FIRST_HELDOUT if said.heldout_count > _FIRST_HELDOUT else None,
        sampled_prompts=min(said.heldout_count, _SAMPLED_PROMPTS),
        has_references=fields["reference"].usable > 0,
        has=usable.__contains__,
        lacks=lambda name: _lack(name, fields[name]),
        holds={name: sorted(found.holds) for name, found in fields.items()},
        begins_with_system=looked.begin_with_system > 0,
        schema=_flow(schema),
        hosted={name: _flow(value) for name, value in said.hosted.items() if value is not None},
    )
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


def _environment() -> Environment:
    """Delimiters that YAML and a recipe's own Jinja don't have."""
    return Environment(
        block_start_string="[%", block_end_string="%]", variable_start_string="[[", variable_end_string="]]",
        comment_start_string="[#", comment_end_string="#]", trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined, autoescape=False, loader=_Kinds(),
    )  # fmt: skip


class _Kinds(BaseLoader):
    def get_source(self, environment: Environment, name: str) -> tuple[str, str | None, Any]:
        try:
            return template(name), None, None
        except FileNotFoundError:
            raise TemplateNotFound(name) from None


def _flow(value: Any) -> str:
    """A value as YAML on one line, to stand anywhere in a document."""

    def dumped(style: str | None) -> str:
        said: str = yaml.safe_dump(
            [value],
            default_style=style,
            default_flow_style=True,
            allow_unicode=True,
            width=1 << 30,
            sort_keys=False,
        )
        return said.strip()[1:-1]

    plain = dumped(None)
    return plain if "\n" not in plain else dumped('"')


def _one_or_all(sources: Sequence[str]) -> Any:
    return sources[0] if len(sources) == 1 else list(sources)


def _one_schema(prompts: Sequence[Prompt]) -> Any:
    """The schema that all rows have; None where they have different ones."""
    first = prompts[0].fields["schema"]
    return first if all(prompt.fields["schema"] == first for prompt in prompts) else None


def _lack(name: str, found: Found) -> str:
    """Why a field is not used, and what a row needs."""
    if found.everywhere:
        return f"The field {name} differs from row to row."  # a schema
    if found.problem:
        why = f"The field {name} can't be used in all rows: {printable(found.problem)}"
    elif found.usable:
        why = f"Only {found.usable} of {found.of} rows have {name}"
    else:
        why = f"No row has {name}"
    return f"{why}. Each row would have to say it, as in {FIELDS[name].example}"
