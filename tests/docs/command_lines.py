"""Whether a command line that a document shows could be typed."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from typing import Any

import typer.main
from documents import ROOT

PROGRAMS = ("rsft", "make", "pip", "python")
_OPERATORS = ("|", "||", "&&", ";", "&")
_REDIRECTIONS = (">", ">>", "<", "2>", "2>>")
_ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=")


@cache
def group() -> Any:
    """rsft's command line."""
    from rsft.cli.app import app

    return typer.main.get_command(app)


def lines_in(text: str) -> list[str]:
    """The command lines of a block, those that go on over several lines as one, without comments on their own."""
    whole = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in whole if line.strip() and not line.lstrip().startswith("#")]


def commands_in(line: str) -> Iterator[tuple[str, list[str]]]:
    """The programs that a line starts, with their words. Raises ValueError for a quotation that does not end."""
    reader = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    reader.whitespace_split = True
    for operator, words in groupby(reader, lambda word: word in _OPERATORS):
        if operator:
            continue
        kept: list[str] = []
        said = iter(words)
        for word in said:
            if word in _REDIRECTIONS:
                next(said)
            elif kept or not _ASSIGNMENT.match(word):
                kept.append(word)
        yield kept[0].rpartition("/")[2], kept[1:]


def mistake(program: str, words: list[str]) -> str | None:
    """What is wrong with a command, if anything is."""
    if program == "rsft":
        return _of_rsft(words)
    if program == "make":
        return _of_make(words)
    if program == "pip":
        return _of_pip(words)
    return _of_python(words) if program == "python" else f"a line begins with one of {', '.join(PROGRAMS)}"


def _of_rsft(words: list[str]) -> str | None:
    if not words or words[0].startswith("-"):
        known = {name for one in group().params for name in one.opts} | {"-h", "--help"}
        return None if set(words) <= known else f"rsft has no option {words[0]}"
    name, *rest = words
    if name not in group().commands:
        return f"there is no command {name}"
    if {"-h", "--help"} & set(rest):
        return None
    try:
        group().commands[name].make_context(name, rest)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def mentioned(words: list[str]) -> str | None:
    """What is wrong with a mention of a command in a sentence, which may leave out what it is not about.

    With its arguments it must be whole, unless one of its words stands for another (NAME, ...); by its name, or with
    options alone, these must be there.
    """
    if not words or words[0].isupper() or words[0].startswith("-"):
        return _of_rsft([word for word in words if not word.isupper()])
    name, *rest = words
    if name not in group().commands:
        return f"there is no command {name}"
    if rest and not rest[0].startswith("-") and not any(word.isupper() or word in ("...", "…") for word in rest):
        return _of_rsft(words)
    known = {option for one in group().commands[name].params for option in one.opts} | {"-h", "--help"}
    unknown = [word for word in rest if word.startswith("-") and word.partition("=")[0] not in known]
    return f"{name} has no option {unknown[0]}" if unknown else None


def _of_make(words: list[str]) -> str | None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [word for word in words if "=" not in word]
    missing = [target for target in targets if not re.search(rf"^{re.escape(target)}:", makefile, flags=re.M)]
    return f"there is no target {missing[0]}" if missing else None


def _of_pip(words: list[str]) -> str | None:
    """Extras of rsft's own must be there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {
        extra for word in words for said in re.findall(r"^(?:rsft|[.])\[(.*)\]", word) for extra in said.split(",")
    }
    unknown = asked - project["optional-dependencies"].keys()
    return f"rsft has no extra {unknown.pop()}" if unknown else None


def _of_python(words: list[str]) -> str | None:
    """A module or a file of this repository must be there."""
    if words[:1] == ["-m"]:
        return None if find_spec(words[1]) else f"there is no module {words[1]}"
    if words and words[0].endswith(".py"):
        return None if (ROOT / words[0]).is_file() else f"there is no file {words[0]}"
    return None
