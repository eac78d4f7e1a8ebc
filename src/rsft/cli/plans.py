"""What a run would do, and what a few replies would become in training."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from rsft.cli.console import console, inert


def print_plan(plan: dict[str, Any]) -> None:
    """What `rsft check` found."""
    table = Table.grid(padding=(0, 2))
    most = plan["at_most"]
    rows = {
        "run folder": plan["run"] + (" (begun already)" if plan["run_exists"] else ""),
        "model": plan["model_found"] or f"none of these is on this disk yet: {', '.join(plan['model'])}",
        "prompts": f"{plan['prompts']['train']['count']} to train, {plan['prompts']['heldout']['count']} held out",
        "longest prompt": f"about {plan['prompts']['train']['longest_tokens_about']} tokens at most",
        "iterations": f"{plan['iterations']}, control: {plan['control']}",
        "candidates": f"at most {plan['candidates_per_iteration']} an iteration, budget: {plan['budget']}",
        "at most": f"{most['train_candidates']} candidates, {most['heldout_replies']} held-out replies, "
        f"{most['sampled_tokens']:,} sampled tokens",
        "disk, at most": f"{most['candidates_mb']:.0f} MB for candidates, scores and decisions, {_policies(most)}",
        "scorers": "\n".join(f"{name}: {what}" for name, what in plan["scorers"].items()),
        "selection": ", then ".join(plan["selection"]),
    }
    for key, value in rows.items():
        table.add_row(key, inert(str(value)))
    console.print(table)
    console.print("The recipe can be run.")


def _policies(most: dict[str, Any]) -> str:
    if most["policies_mb"] is None:
        return f"and what {most['policies']} policies take"
    return f"{most['policies_mb']:.0f} MB for {most['policies']} policies"


def print_preview(said: dict[str, Any]) -> None:
    """Packs as they are trained: what is learnt in green, every other token a little darker, so that they show."""
    rows, alone, read = said["rows"], said["row_tokens"], said["read_tokens"]
    console.print(
        f"{len(rows)} replies ({said['replies']}): {read} tokens to read, where one by one they have {alone}; "
        f"{sum(row['reply'] for row in rows)} to learn (green; underlined: learnt, and not read)",
        soft_wrap=True,
    )
    for number, pack in enumerate(said["packs"], 1):
        console.print(f"\npack {number}: {pack['tokens']} tokens", style="bold")
        for place, stretch in enumerate(pack["stretches"]):
            last = stretch["first"] + stretch["tokens"] - 1
            sees = "".join(f", {seen}" for seen in stretch["sees"])[2:] or "nothing before it"
            console.print(f"stretch {place}: tokens {stretch['first']} to {last}, sees {sees}", style="dim")
            for block in stretch["blocks"]:
                console.print(_coloured(block), soft_wrap=True)
    for cut in said["cut"]:
        console.print(Text("not learnt, cut by the length limit: ", "red"), inert(cut["reply"]), sep="")


def _coloured(tokens: list[dict[str, Any]]) -> Text:
    text = Text("  ")
    for number, token in enumerate(tokens):
        style = ("green" if token["learnt"] else "grey62", "green4" if token["learnt"] else "grey42")[number % 2]
        piece = inert(token["text"].replace("\n", "⏎\n  "))
        piece.stylize(style if token["read"] else f"{style} underline")
        text.append_text(piece)
    return text
