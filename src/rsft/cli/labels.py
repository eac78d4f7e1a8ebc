"""Labelling in the terminal: one key a reply, or a pair of them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

from rsft.calibrating import drawn_iteration
from rsft.cli.arguments import printed
from rsft.cli.console import aside, console, inert, program, say, say_unbroken
from rsft.errors import RecipeError, RunError
from rsft.label_files import export_labels, import_labels
from rsft.labelling import Frame, Labelling, login
from rsft.pairing import Pairing, Seen
from rsft.pairs import Pairs
from rsft.saved import changed_recipe
from rsft.selection import parse_selection
from rsft.store import RunFolder
from rsft.types import Word

_WORDS: dict[str, Word] = {"g": "good", "y": "good", "b": "bad", "n": "bad", "s": "skipped"}
_SIDES: dict[str, Seen] = {
    **dict.fromkeys(("1", "a", "\x1b[d"), "left"),
    **dict.fromkeys(("2", "b", "\x1b[c"), "right"),
    "t": "tie",
    "s": "skipped",
}
"""What a key says of a pair: an arrow is what a terminal sends for it."""
_SIDES_HELP = "[1] or [2] is better  [t] equal  [s] can't say  [u] undo  [q] quit"
_HELP = "[g] good  [b] bad  [s] can't say  [u] undo  [q] quit"
_Said = TypeVar("_Said", bound=str)


def label_replies(
    run: Path,
    scorer: str,
    *,
    iteration: int | None,
    aimed: bool,
    by: str | None,
    verifier: str | None,
    count: int,
    export: Path | None,
    read: Path | None,
    overrides: Sequence[str],
    as_json: bool,
) -> None:
    """`rsft label`: by keys, by a rule (`verifier`), or by files (one to `export`, or one to `read`). Raises a
    UserError."""
    if sum(way is not None for way in (verifier, export, read)) > 1:
        raise RecipeError("Give one of --verifier, --export and --import.")
    if by is not None and (verifier is not None or read is not None):
        raise RecipeError("Who labels is said by the rule, or by the file: leave --by out.")
    recipe = changed_recipe(run, overrides, "selection")
    with RunFolder.open(run, write=True) as folder:
        frame = Frame(folder, recipe, scorer, drawn_iteration(folder) if iteration is None else iteration)
        by = verifier or by or login()
        labelling = Labelling(folder, frame, by, "aimed" if aimed else "calibration")
        if read is not None:
            done = import_labels(folder, frame, read)
            what = f"{done} new labels read from {read}"
        elif export is not None:
            done = export_labels(folder, frame, labelling, count, export)
            what = f"{done} rows written to {export}"
        elif verifier is not None:
            rules = parse_selection([verifier])
            rules.check(list(frame.stored.fingerprints))
            done = labelling.say_by_rules(rules, count)
            what = f"{done} replies labelled by {by}"
        else:
            with aside(on=as_json):
                done = _replies_by_keys(labelling, count)
            what = f"{done} replies labelled by {by}"
    left = len(labelling.queue)

    def tell(_: object) -> None:
        say(f"{what}; {left} of iteration {frame.iteration} are left.")
        words = ["calibrate", str(run), "--scorer", scorer, "--iteration", str(frame.iteration)]
        words += [word for override in overrides for word in ("--set", override)]
        say_unbroken(f"Next: {program()} {shlex.join(words)}")

    said = {"run": str(run), "iteration": frame.iteration, "scorer": scorer, "done": done, "left": left}
    printed(said, as_json, tell)


def _replies_by_keys(labelling: Labelling, count: int) -> int:
    """Ask about one reply after another; how many were labelled."""
    if not sys.stdin.isatty():
        raise RunError("There is no terminal to ask in. Use --export and --import, or --verifier.")

    def show(done: int) -> bool:
        asked = labelling.next()
        if asked is None:
            return False
        console.rule(inert(f"{done + 1} of {min(count, done + len(labelling.queue))} · {asked.key.prompt_id}"))
        say(f"asked:   {asked.asked}")
        say(f"replied: {asked.reply}", style="bold")
        console.print(_HELP, style="dim", markup=False)
        return True

    return _by_keys(count, _WORDS, show, labelling.say, labelling.undo)


def compare_replies(run: Path, named: str, by: str | None, count: int, as_json: bool) -> None:
    """`rsft label --pairs`: which of two replies is better, one key a pair. Raises a UserError."""
    names = [name.strip() for name in named.split(",")]
    if len(names) != 2:
        raise RecipeError(f"--pairs names two policies, e.g. base,policy@2; found {named!r}.")
    with RunFolder.open(run, write=True, repair=False) as folder:
        pairing = Pairing(folder, Pairs(folder, *names), by or login())
        with aside(on=as_json):
            done = _pairs_by_keys(pairing, count)
    left = len(pairing.queue)

    def tell(_: object) -> None:
        say(f"{done} pairs compared by {pairing.labeller}; {left} are left.")
        say_unbroken(f"Who won: {program()} report {shlex.quote(str(run))}")

    printed({"run": str(run), "pairs": names, "done": done, "left": left}, as_json, tell)


def _pairs_by_keys(pairing: Pairing, count: int) -> int:
    """Ask about one pair after another; how many were compared."""
    if not sys.stdin.isatty():
        raise RunError("There is no terminal to ask in.")

    def show(done: int) -> bool:
        shown = pairing.next
        if shown is None:
            return False
        console.rule(inert(f"{done + 1} of {min(count, done + len(pairing.queue))}"))
        for turn in shown.pair.prompt.conversation:
            say(f"{turn.role}: {turn.content}")
        for number, text in (("1", shown.left), ("2", shown.right)):
            say(f"\n[{number}] {text}", style="bold")
        console.print(_SIDES_HELP, style="dim", markup=False)
        return True

    return _by_keys(count, _SIDES, show, pairing.say, lambda: pairing.take_back() is not None)


def _by_keys(
    count: int,
    words: Mapping[str, _Said],
    show: Callable[[int], bool],
    say: Callable[[_Said], None],
    undo: Callable[[], bool],
) -> int:
    """Have the keys of `words` said of what `show` shows, told how many are done, until it has nothing to show. `undo`
    takes the last one back, if there is one. Returns how many are done, at most `count`."""
    done = 0
    while done < count and show(done):
        key = click.getchar().lower()
        if key in words:
            say(words[key])
            done += 1
        elif key in ("u", "z"):
            done = max(0, done - undo())
        elif key in ("q", "\x03", "\x04"):
            break
    return done
