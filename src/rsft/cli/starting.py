"""A first recipe: asked for, written, checked, and what to type next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Any

import typer

from rsft.cli.arguments import printed
from rsft.cli.asking import Asker, Said
from rsft.cli.console import console, program, say, say_unbroken
from rsft.cli.drafts import as_document, print_draft
from rsft.cli.plans import print_plan
from rsft.errors import RecipeError, UserError
from rsft.starting import Draft, read_again, refuse_name, refuse_taken, write


def columns_said(said: Sequence[str]) -> dict[str, str]:
    """`--column messages=dialogue`, read. Raises RecipeError."""
    found: dict[str, str] = {}
    for one in said:
        new, equals, old = one.partition("=")
        if not equals or not new.strip():
            raise RecipeError(f"--column takes WHAT=COLUMN, for example --column prompt=question; found '{one}'.")
        if new.strip() in found:
            raise RecipeError(f"--column says {new.strip()} twice; keep one.")
        found[new.strip()] = old
    return found


def start(said: Said, *, yes: bool, force: bool, as_json: bool) -> None:
    """Ask for what was not said, write the recipe, check it, and say what is next. Raises a UserError."""
    refuse_name(said.file)
    refuse_taken([said.file], force=force)
    asker = Asker(said, yes=yes, typed=sys.stdin.isatty() and not as_json)
    try:
        drafted, data = asker.drafted()
        refuse_taken(drafted.files, data, force=force)
        if not as_json:
            print_draft(drafted)
        asker.confirm_writing(drafted)
    except KeyboardInterrupt:
        print("\nrsft: interrupted; nothing was written.", file=sys.stderr)
        raise typer.Exit(130) from None
    written = write(drafted, data, force=force)
    read_again(drafted)
    plan = _checked(drafted)
    following = _following(drafted)
    document = as_document(drafted, written, plan, following)
    printed(document, as_json, _print_written)


def _print_written(said: dict[str, Any]) -> None:
    console.print()
    say(f"Written: {', '.join(said['written'])}", "bold")
    print_plan(said["check"])
    console.print("\nNext:")
    for line in said["next"]:
        say_unbroken(f"  {line}")


def _checked(drafted: Draft) -> dict[str, Any]:
    from rsft.config import load_recipe
    from rsft.plan import plan

    try:
        return plan(load_recipe(drafted.wish.file))
    except UserError as error:
        file = drafted.wish.file
        raise RecipeError(
            f"{file} was written, but can't be run as it stands: {error}\nMend that, then: rsft check {file}"
        ) from None


def _following(drafted: Draft) -> list[str]:
    """What to type next."""
    file = shlex.quote(str(drafted.wish.file))
    has_references = drafted.looked.fields["reference"].usable > 0
    test = f"{program()} scorers test {file}"
    if not has_references:
        test += " --labels FILE   # rows that are labelled good and bad, since none has a reference"
    lines = [test, f"{program()} run {file}", f"{program()} ui"]
    key = drafted.wish.hosted.get("key_env")
    if key:
        lines.insert(0, f"export {key}=...   # then {program()} doctor {file}, which asks the server what it can do")
    return lines
