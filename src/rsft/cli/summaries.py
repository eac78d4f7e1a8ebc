"""What a run came to, and how far it is."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from rsft.cli.console import console, from_here, inert, program, say, say_unbroken
from rsft.store import ARMS
from rsft.wording import score_gain, share, share_gain


def print_summary(summary: dict[str, Any]) -> None:
    """The closing table: base, each iteration, its control, the gains, and what to try next."""
    if summary["fakes"]:
        console.print(f"This run used fakes ({', '.join(summary['fakes'])}): its numbers say nothing about a model.")
    console.print(_acceptance(summary))
    has_control = any(part["control"] for part in summary["iterations"])
    control = " The control learns from as many candidates, chosen\nat random." if has_control else ""
    console.print(f"In brackets: 95% intervals.{control}")
    _print_drift(summary)
    _print_habits(summary)
    _print_alarms(summary)
    if gain := summary["gain_over_base"]:
        console.print(f"Gain over base:    {share_gain(gain)}  (best iteration, n = {gain['n']})")
    if gain := summary["gain_over_control"]:
        console.print(f"Gain over control: {share_gain(gain)}  (best of each, n = {gain['n']})")
        if gain["low"] <= 0:
            console.print("The gain over the control is not established: its interval reaches zero.")
    _print_score_gains(summary)
    _print_spent(summary)
    run = from_here(summary["run"])
    console.print(f"\nThe run folder: {run}\nNext, try:", soft_wrap=True)
    for command in (
        f"show {run} --heldout --limit 5",
        f"sample {run} --prompt {summary['example_prompt']} --candidates 4",
        f"status {run}",
    ):
        console.print(f"  {program()} {command}", soft_wrap=True, markup=False)


def print_seeds(summary: dict[str, Any]) -> None:
    """What several seeds say together."""
    if summary["fakes"]:
        console.print(f"These runs used fakes ({', '.join(summary['fakes'])}): they say nothing about a model.")
    count = len(summary["seeds"])
    table = Table(
        title=f"Held-out acceptance under {count} seed{'s' if count > 1 else ''}: the mean, and each",
        title_justify="left",
        box=box.SIMPLE,
        pad_edge=False,
    )
    arms = [arm for arm in ARMS if any(part[arm] for part in summary["iterations"])]
    for column in ("", *(column for arm in arms for column in (arm, "by seed"))):
        table.add_column(column, justify="left" if column == "" else "right", no_wrap=True)
    rows = [("base", {"policy": summary["base"]})]
    rows += [(f"iteration {part['iteration']}", part) for part in summary["iterations"]]
    for name, part in rows:
        cells = [(_interval(said), _by_seed(said)) for said in (part.get(arm) for arm in arms)]
        table.add_row(name, *(cell for pair in cells for cell in pair))
    console.print(table)
    console.print("In brackets: 95% intervals, for other seeds and other prompts.")
    for title, gain in (("base:   ", summary["gain_over_base"]), ("control:", summary["gain_over_control"])):
        if gain:
            console.print(f"Gain over {title} {share_gain(gain)}  (each seed's best iteration, n = {gain['n']})")
    _print_score_gains(summary)
    for run, stopped in zip(summary["seeds"], summary["stopped"], strict=True):
        if stopped:
            line = f"! {from_here(run)} was stopped in iteration {stopped['iteration']}: {stopped['why']}."
            say(line, style="yellow")
    console.print(f"\nThe runs: {', '.join(from_here(run) for run in summary['seeds'])}", soft_wrap=True)


def print_status(status: dict[str, Any]) -> None:
    """How far a run is."""
    state = "finished" if status["finished"] else "not finished"
    writer = f", process {status['writer']} is at work on it" if status["writer"] else ""
    console.print(f"{status['run']}: {state}{writer}; {status['candidates']} candidates so far", soft_wrap=True)
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("iteration", "arm", "stage", "", "s", "result"):
        table.add_column(column)
    for stage in status["stages"]:
        note = stage["info"] or {}
        seconds = f"{note['seconds']:.0f}" if "seconds" in note else ""
        table.add_row(str(stage["iteration"]), stage["arm"], stage["stage"], stage["status"], seconds, _result(note))
    console.print(table)
    if status["workers"]:
        _print_workers(status)


def _print_workers(status: dict[str, Any]) -> None:
    """Who works on a cluster, or did, and what each has drawn."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("worker", "host"):
        table.add_column(column, overflow="fold")
    for column in ("candidates", "tokens", "tokens/s"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for one in status["workers"]:
        rate = f"{one['rate']:,.0f}" if one["rate"] is not None else ""
        said = one["state"] if one["gone"] is None else f"gone: {one['gone']}"
        counts = f"{one['candidates']:,}", f"{one['tokens']:,}", rate
        table.add_row(inert(one["name"]), inert(one["host"]), *counts, inert(said))
    console.print(table)
    lost, overtaken = sum(one["gone"] is not None for one in status["workers"]), status["overtaken"]
    say(f"Workers: {len(status['workers']):,}, of which {lost:,} were lost; overtaken shares of work: {overtaken:,}.")


def _by_seed(said: dict[str, Any] | None) -> str:
    return " ".join(f"{value:.0%}" for value in said["by_seed"]) if said else ""


def _print_spent(summary: dict[str, Any]) -> None:
    """What servers with a price have cost, the run's interruptions included."""
    for name, sums in summary["spent"].items():
        tokens = f"{sums['read']:,.0f} tokens read, {sums['written']:,.0f} written"
        line = f"{name}: {sums['requests']:,.0f} requests, {tokens}, cost {sums['cost']:,.2f}"
        say_unbroken(line)


def _print_score_gains(summary: dict[str, Any]) -> None:
    """What held-out scorers say of the gains."""
    for name, gains in summary["heldout_score_gains"].items():
        said = ", ".join(f"{score_gain(gain)} {over.replace('_', ' ')}" for over, gain in gains.items() if gain)
        if said:
            console.print(f"{name}: {said}", soft_wrap=True)


def _acceptance(summary: dict[str, Any]) -> Table:
    """A row for the base and for each iteration, a column for each arm."""
    table = Table(
        title="Held-out acceptance: share of greedy replies that pass",
        title_justify="left",
        box=box.SIMPLE,
        pad_edge=False,
    )
    unfiltered = ["unfiltered"] if any(part.get("unfiltered") for part in summary["iterations"]) else []
    for column in ("", "accepted", "trained on", "policy", "control", *unfiltered, "s"):
        table.add_column(column, justify="left" if column == "" else "right", no_wrap=True)
    if base := summary["base"]:
        table.add_row("base", "", "", _interval(base), *[""] * (1 + len(unfiltered)), _seconds(base))
    for part in summary["iterations"]:
        best = " ★" if part["iteration"] == summary["best_iteration"] else ""
        arms = [part[arm] for arm in ("control", *unfiltered)]
        table.add_row(
            f"iteration {part['iteration']}{best}",
            f"{part['accepted']}/{part['candidates']}",
            str(part.get("trained_on", "")),
            _interval(part),
            *(_interval(arm) for arm in arms),
            _seconds(part, *arms),
        )
    return table


def _print_drift(summary: dict[str, Any]) -> None:
    """What stands beside every gain: what held-out scorers say, and how various the policy's replies still are."""
    if not summary["base"]:
        return
    scorers = list(summary["base"]["heldout_scores"])
    table = Table(
        title="Held-out scorers, and how far the policy went",
        title_justify="left",
        box=box.SIMPLE,
        pad_edge=False,
    )
    samples = summary["base"].get("sampled", {}).get("samples_per_prompt", 0)
    sampled = (f"best of {samples}", "unique", "entropy") if samples else ()
    drift = ("words", "KL") if summary["base"]["kl_from_base"] else ("words",)
    for column in ("", *scorers, *sampled, *drift):
        table.add_column(column, justify="left" if column == "" else "right", no_wrap=True)
    rows = [("base", summary["base"]), *((f"iteration {part['iteration']}", part) for part in summary["iterations"])]
    for name, part in rows:
        if "heldout_scores" in part:
            table.add_row(name, *(f"{part['heldout_scores'][one]['value']:.3f}" for one in scorers), *_drift(part))
    console.print(table)
    if samples:
        console.print("unique: of a prompt's samples; entropy: nats a token; KL from the base: nats a reply.")


def _drift(part: dict[str, Any]) -> list[str]:
    """The share of prompts that the best of several samples solves; of samples the share of different ones and the
    entropy in nats a token; words of greedy replies; nats from the base a reply."""
    said = [f"{part['mean_words']:.0f}"]
    if part["kl_from_base"]:
        said.append(f"{part['kl_from_base']['value']:.1f}")
    if sampled := part.get("sampled"):
        unique = "-" if sampled["unique_share"] is None else f"{sampled['unique_share']:.0%}"
        entropy = "-" if sampled["entropy"] is None else f"{sampled['entropy']:.2f}"
        said = [f"{sampled['best_of']['value']:.0%}", unique, entropy, *said]
    return said


def _print_habits(summary: dict[str, Any]) -> None:
    """What accepted replies have come to share, though no prompt says it."""
    for phrase, shares in summary["habits"].items():
        grew = " → ".join(f"{share:.0%}" for share in shares)
        say(f"A habit grows: '{phrase}' is in accepted replies to {grew} of the prompts.", style="yellow")


def _print_alarms(summary: dict[str, Any]) -> None:
    """What the guards found, and what came of it."""
    for alarm in summary["alarms"]:
        did = {"stop": "the run was stopped", "roll_back": "the run went back to its best policy"}.get(alarm["act"])
        end = f" So {did}." if did else ""
        line = f"! iteration {alarm['iteration']}, {alarm['guard']}: {alarm['why']}.{end}"
        say(line, style="yellow")
    if summary["handed_back"] == 0 and summary["iterations"]:
        console.print("No iteration is better than the base: what is handed back is the base model.", style="yellow")


def _result(note: dict[str, Any]) -> str:
    if "heldout_acceptance" in note:
        return f"held-out {_interval(note)}"
    if "accepted" in note:
        return f"{note['accepted']} accepted, of {note['prompts_solved']} prompts"
    if "rows" in note:
        return f"{note['rows']} replies, {note['steps']} steps"
    if "tokens" in note:
        return f"{note['candidates']} candidates, {note['tokens']} tokens"
    return ""


def _interval(part: dict[str, Any] | None) -> str:
    if not part or "heldout_acceptance" not in part:
        return ""
    return share(part["heldout_acceptance"])


def _seconds(*parts: dict[str, Any] | None) -> str:
    return f"{sum(sum(part['seconds'].values()) for part in parts if part):.0f}"
