"""The page of the command line, from the commands themselves."""

import inspect
import sys
from pathlib import Path
from typing import Any, get_args

import typer
import typer.main
from tools.reference.markdown import bullet, code, page, paragraphs, table
from tools.reference.types import between

from rsft.cli.app import app

_INTRO = """\
Every command explains itself: `rsft COMMAND --help` (or `-h`) says what stands here. Every command that finds something
out takes `--json` and then prints one JSON document, for other programs to read.

Exit codes: 0 all is done, 2 a mistake that you can fix (one message says how), 130 interrupted (`rsft resume`
goes on)."""
_TYPES: dict[Any, str] = {int: "whole number", float: "number", Path: "path", str: "text"}


def commands_page() -> str:
    """Every command, by what one wants, with its arguments and options."""
    group: Any = typer.main.get_command(app)
    rooms = list(_rooms())
    overview = [
        (f"[`rsft {name}`](#rsft-{name})", _first(group.commands[name])) for _, names in rooms for name in names
    ]
    blocks = [
        "# Command line",
        _INTRO,
        table(["command", "what it does"], overview),
        *_parameters(group, "Options of rsft itself:"),
    ]
    for title, names in rooms:
        blocks.append(f"## {title}")
        for name in names:
            blocks += _command(name, group.commands[name])
    return page(*blocks)


def _rooms() -> Any:
    """What each group of commands is for, and their names."""
    for room in app.registered_groups:
        commands = room.typer_instance.registered_commands
        said = inspect.getdoc(sys.modules[commands[0].callback.__module__])
        assert said is not None
        yield (
            said.splitlines()[0].rstrip("."),
            [one.name or typer.main.get_command_name(one.callback.__name__) for one in commands],
        )


def _first(command: Any) -> str:
    return paragraphs(command.help)[0]


def _command(name: str, command: Any) -> list[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    words = [one.metavar if one.required else f"[{one.metavar}]" for one in arguments]
    usage = " ".join(["rsft", name, *words, "[OPTIONS]"])
    return [f"### rsft {name}", code(usage), *paragraphs(command.help), *_parameters(command)]


def _parameters(command: Any, heading: str = "") -> list[str]:
    """A list of arguments and options."""
    lines = [bullet(_names(one), _kind(one), one.help or "") for one in command.params if not one.hidden]
    return [heading, "\n".join(lines)] if lines else []


def _names(one: Any) -> str:
    if one.param_type_name == "argument":
        return code(one.metavar)
    value = "" if one.is_flag or not one.metavar else f" {one.metavar}"
    return ", ".join(code(name + (value if name.startswith("--") else "")) for name in [*one.opts, *one.secondary_opts])


def _kind(one: Any) -> str:
    """What may stand there, whether it must, and what holds when nothing does."""
    said = []
    flag = getattr(one, "is_flag", False)
    annotation = one.type_descriptor.annotation if one.type_descriptor else str
    if not flag:
        kind = next(iter(get_args(annotation)), annotation)
        bounds = between(one.min, one.max)
        if bounds or not one.metavar:
            said.append(_TYPES[kind] + bounds)
    if one.required:
        said.append("needed")
    if one.multiple:
        said.append("may be repeated")
    if one.default not in (None, False, ()) and not callable(one.default):
        said.append(f"default {code(str(one.default))}")
    return "; ".join(said)
