"""What the commands about runs as a whole print for people: comparing two, listing all, making room."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from rsft.cli.console import console, from_here, inert, say_unbroken
from rsft.wording import score_gain, share_gain

_NUMBERS = {
    "unique share of a prompt's samples": ("sampled", "unique_share"),
    "entropy, nats a token": ("sampled", "entropy"),
    "distinct bigrams": ("distinct_2",),
    "words of a reply": ("mean_words",),
}


def print_compared(said: dict[str, Any]) -> None:
    """What differs in numbers, then the regressions, then the improvements, side by side."""
    for side in ("a", "b"):
        say_unbroken(f"{side.upper()}: {from_here(said[side]['name'])}")
    for warning in said["warnings"]:
        say_unbroken(f"! {warning}.", "yellow")
    _print_numbers(said)
    left_out = [f"{count} of {side.upper()}'s" for side, count in said["left_out"].items() if count]
    left = f" {' and '.join(left_out)} are left out: the other has not answered them." if left_out else ""
    rules = ", ".join(said["rules"]["a"])
    judged = f" Both are judged by A's rules: {rules}." if said["rules"]["a"] == said["rules"]["b"] else ""
    say_unbroken(f"{said['prompts']} held-out prompts; paired differences, in brackets 95% intervals.{left}{judged}")
    crossed = said["acceptance_changes"]
    say_unbroken(
        f"Both pass on {crossed['both']}, only A on {crossed['only_a']}, only B on {crossed['only_b']}, neither on "
        f"{crossed['neither']} (McNemar's exact test: p = {crossed['p']:.2g})."
    )
    if differences := said["recipe_differences"]:
        say_unbroken("\nThe recipes differ:")
        for line in differences:
            say_unbroken(f"  {line}")
    for title, count, changes in (
        ("Worse", said["worse"], said["regressions"]),
        ("Better", said["better"], said["improvements"]),
    ):
        shown = f", of which {len(changes)} are shown" if len(changes) < count else ""
        say_unbroken(f"\n{title} by {said['by']}: {count} prompts{shown}", "bold")
        for change in changes:
            _print_side_by_side(change)


def _print_numbers(said: dict[str, Any]) -> None:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("", "A", "B", "B − A"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    shares = {"acceptance": said["scores"]["acceptance"]}
    if sampled := said["sampled"]:
        shares |= {"acceptance of samples": sampled["acceptance"]}
        shares |= {f"best of {sampled['samples']} samples": sampled["best_of"]}
    for name, of in shares.items():
        table.add_row(name, f"{of['a']:.1%}", f"{of['b']:.1%}", share_gain(of["difference"]))
    for name, of in said["scores"].items():
        if name != "acceptance":
            table.add_row(inert(name), f"{of['a']:.3f}", f"{of['b']:.3f}", score_gain(of["difference"]))
    table.add_section()
    for name, path in _NUMBERS.items():
        found = [_at(said["numbers"][side], path) for side in ("a", "b")]
        if None not in found:
            table.add_row(name, *(f"{value:.3g}" for value in found))
    if all(kl := [said["kl_from_base"][side] for side in ("a", "b")]):
        table.add_row("KL from the base, nats a reply", *(f"{of['value']:.1f}" for of in kl))
    console.print(table)


def _at(said: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        said = (said or {}).get(key)
    return said


def _print_side_by_side(changed: dict[str, Any]) -> None:
    table = Table(box=box.SIMPLE, pad_edge=False, title_justify="left", expand=True)
    table.title = Text.assemble((changed["prompt_id"], "dim"), "  ", inert(" ".join(changed["asked"].split())))
    for column in ("A", "B"):
        table.add_column(column, ratio=1, overflow="fold")
    table.add_row(*(inert(changed[side]["reply"]) for side in ("a", "b")))
    table.add_row(*(_verdict(changed[side]) for side in ("a", "b")))
    console.print(table)


def _verdict(reply: dict[str, Any]) -> Text:
    why = f" ({reply['explanation']})" if reply["explanation"] else ""
    verdict = inert("passes" if reply["accepted"] else f"fails by {reply['rule']}{why}")
    verdict.stylize("green" if reply["accepted"] else "red")
    return verdict


def print_runs(runs: list[dict[str, Any]], folder: str) -> None:
    """One line for each run, the last one to change first."""
    if not runs:
        say_unbroken(f"There is no run in {folder}.")
        return
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("run", overflow="fold", min_width=16)
    table.add_column("", overflow="fold")
    for column in ("base", "best", "over control", "MB", "changed"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in runs:
        done = f"{one['iterations']}/{one['of_iterations']} " if "iterations" in one else ""
        table.add_row(
            inert(from_here(one["run"])),
            inert(f"{done}{one['state']}"),
            f"{one['base']['value']:.1%}" if one.get("base") else "",
            f"{one['best']['value']:.1%} @{one['handed_back']}" if one.get("best") else "",
            f"{one['gain_over_control']['value']:+.1%}" if one.get("gain_over_control") else "",
            f"{one['bytes'] / 1e6:.0f}",
            one["changed"].replace("T", " ")[5:16],
        )
    console.print(table)
    say_unbroken("base, best: held-out acceptance; @: the iteration whose policy the run hands back.")


def print_report(said: dict[str, Any]) -> None:
    """Where the report is, and what it says first."""
    say_unbroken(" ".join(said["story"]))
    for file in (said["report"], *said["cards"]):
        say_unbroken(f"  {from_here(file)}")


def print_tracked(said: dict[str, Any]) -> None:
    """What each tracker was told, and of the rest why not."""
    for name, one in said["trackers"].items():
        rest = f"; not of all: {one['failure']}" if one["failure"] else ""
        say_unbroken(f"  {name}: told of {one['told']} stages{rest}")


def print_cleaned(said: dict[str, Any]) -> None:
    """What was removed, and what it came to."""
    would = "would be " if said["dry_run"] else ""
    for one in said["removed"]:
        say_unbroken(f"  {one['bytes'] / 1e6:8.1f} MB  {one['path']}  ({one['why']})")
    if not said["removed"]:
        say_unbroken(f"Nothing of {from_here(said['run'])} can be removed.")
    else:
        say_unbroken(f"{said['bytes'] / 1e6:.1f} MB {would}freed.")
    if not said["policies"] and (policies := said["more_bytes"]):
        say_unbroken(
            f"With --policies {policies / 1e6:.1f} MB more: the weights of policies that nothing needs any more."
        )
