"""Scorers and rules: which there are, what each takes, and how good a recipe's scorers are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from rsft.cli.console import console, inert, say
from rsft.wording import share


def print_scorers(said: list[dict[str, str]]) -> None:
    """All scorers, one line each."""
    _print_listed(said, {"scorer": "name", "takes": "takes", "what it says": "says"})
    console.print("Options and an example: rsft scorers NAME. How good yours are: rsft scorers test RECIPE.")


def print_rules(said: list[dict[str, str]]) -> None:
    """All rules, one line each."""
    _print_listed(said, {"rule": "name", "looks at": "looks_at", "what it keeps": "says"})
    console.print("Options and an example: rsft rules NAME. What other rules would change in a run: rsft select RUN.")


def _print_listed(said: list[dict[str, str]], columns: Mapping[str, str]) -> None:
    """A table of plug-ins: `columns` are its heads, and the keys of what stands below them."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    for head in columns:
        table.add_column(head, overflow="fold")
    for one in said:
        table.add_row(*(one[key] for key in columns.values()))
    console.print(table)


def print_rule(said: dict[str, Any]) -> None:
    """One rule: what it keeps, its options, an example."""
    _print_plug_in(said, f"{said['name']} looks at {said['looks_at']}")


def print_scorer(said: dict[str, Any]) -> None:
    """One scorer: what it says, its options, an example."""
    _print_plug_in(said, f"{said['name']} takes {said['takes']}")


def _print_plug_in(said: dict[str, Any], title: str) -> None:
    console.print(f"{title}\n", style="dim", markup=False)
    say(said["says"])
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("option", "type", "default", ""):
        table.add_column(column, overflow="fold")
    for option in said["options"]:
        table.add_row(*(inert(option[key]) for key in ("name", "type", "default", "description")))
    if said["options"]:
        console.print(table)
    say(said["example"].rstrip(), style="green")


def print_appraisal(said: dict[str, Any]) -> None:
    """How good scorers are: what each is worth in each trial, what else their scores hang on, and what to look at."""
    from rsft.appraisal.trials import MEANING

    table = Table(title="Good replies against bad ones", title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in ("", "AUC", "prefers good", "n", "failed"):
        table.add_column(column, justify="right" if column else "left", overflow="fold", no_wrap=column != "")
    for trial in said["scores"]:
        table.add_row(Text(trial.replace("_", " "), style="bold"))
        for name, of in said["scorers"].items():
            found = of["trials"][trial]
            failed = str(found["failed"] or "")
            row = _area(found["auc"]), _preference(found["prefers"]), str(found["n"]), failed
            table.add_row(inert(f"  {name}"), *row)
        table.add_section()
    console.print(table)
    for trial in said["scores"]:
        console.print(f"{trial.replace('_', ' ')}: {MEANING[trial]}")
    console.print(
        "AUC: how often a good reply scores higher than a bad one; prefers good: within pairs that answer one prompt, "
        "ties half. In brackets: 95% intervals."
    )
    for name, of in said["scorers"].items():
        if of["agreement"]:
            _print_agreement(name, of["agreement"])
    _print_habits(said)
    for among in ("good", "all"):
        _print_correlations(f"Rank correlation between scorers over {among} replies", said["correlations"][among])
    for warning in said["warnings"]:
        say(f"Mind: {warning}", style="yellow")


def _print_agreement(name: str, said: dict[str, Any]) -> None:
    """How far a judge agrees with people."""
    kappa = "" if said["kappa"] is None else f", Cohen's kappa {said['kappa']:.2f}"
    console.print(
        inert(f"{name} agrees with the labels on {_preference(said['accuracy'])}{kappa}, from {said['at']:g} on good.")
    )


def _area(found: dict[str, Any]) -> str:
    return f"{found['value']:.3f} [{found['low']:.2f}, {found['high']:.2f}]" if found["n"] else ""


def _preference(found: dict[str, Any] | None) -> str:
    if not found or not found["n"]:
        return ""
    return share(found)


def _print_habits(said: dict[str, Any]) -> None:
    """What else scores hang on, and how long they take."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("scorer", overflow="fold")
    for column in ("length, good", "length, all", "batch", "s per 1,000", "failed"):
        table.add_column(column, justify="right")
    for name, of in said["scorers"].items():
        length, batch, seconds = of["length_correlation"], of["batch_difference"], of["seconds_per_1000"]
        table.add_row(
            inert(name),
            *("" if length[among] is None else f"{length[among]:+.2f}" for among in ("good", "all")),
            "" if batch is None else f"{batch:.2g}",
            "" if seconds is None else f"{seconds:.2f}",
            f"{of['failed']:.1%}" if of["failed"] else "",
        )
    console.print(table)
    console.print(
        "length: rank correlation of the score with the words of the replies. batch: the most that a score differs "
        f"between batches of 1, 7 and 64. Seconds: of {said['good']} good replies, in batches of {said['batch']}."
    )


def _print_correlations(title: str, said: dict[str, dict[str, float | None]]) -> None:
    if all(value is None for others in said.values() for value in others.values()):
        return
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("")
    for name in said:
        table.add_column(inert(name), justify="right")
    for name, others in said.items():
        values = [others.get(other) for other in said]
        table.add_row(inert(name), *("" if value is None else f"{value:+.2f}" for value in values))
    console.print(f"\n{title}")
    console.print(table)
