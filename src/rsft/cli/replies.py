"""Replies, one below the other, and how prompts fared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from rsft.cli.console import console, inert, say

if TYPE_CHECKING:
    from rsft.reading import PromptsFared


def print_candidates(found: list[dict[str, Any]]) -> None:
    """Candidates one below the other."""
    if not found:
        console.print("No decided candidate is like that.")
    for candidate in found:
        verdict = "accepted" if candidate["accepted"] else f"rejected by {candidate['rule']}"
        why = f" ({candidate['explanation']})" if candidate["explanation"] else ""
        console.rule(
            f"iteration {candidate['iteration']} · {candidate['prompt_id']} · sample {candidate['sample_index']}"
        )
        console.print(Text("asked:   ", style="dim"), inert(candidate["asked"]), sep="")
        console.print(Text("replied: ", style="dim"), inert(candidate["reply"]), sep="")
        for name, score in candidate["scores"].items():
            value = (
                f"failed: {score['failed']}" if "failed" in score else f"{score['value']:.3g}  {score['explanation']}"
            )
            console.print(Text(f"{name}: ", style="dim"), inert(value), sep="")
        say(verdict + why, style="green" if candidate["accepted"] else "red")


def print_prompts(fared: PromptsFared) -> None:
    """How prompts fared: how many in which way, and the first of them one below the other."""
    counts = sorted(fared.states.items(), key=lambda one: -one[1])
    said = ", ".join(f"{count} {state}" for state, count in counts)
    console.print(f"Iteration {fared.iteration}, {fared.prompts} prompts: {said}")
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("prompt", "state", "accepted", "tokens", "asked"):
        right = column in ("accepted", "tokens")
        table.add_column(column, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    for row in fared.rows:
        accepted = f"{row['accepted']}/{row['candidates']}"
        asked = inert(" ".join(row["asked"].split()))
        table.add_row(inert(row["prompt_id"]), row["state"], accepted, str(row["tokens"]), asked)
    console.print(table)


def print_replies(said: dict[str, Any]) -> None:
    """Freshly drawn replies."""
    console.print(f"{said['model']}, policy {said['policy']}", style="dim", soft_wrap=True)
    for reply in said["replies"]:
        why = f": {reply['why']}" if reply["why"] else ""
        cut = "" if reply["finish_reason"] == "stop" else f"  [{reply['finish_reason']}{why}]"
        console.print(Text("→ "), inert(reply["text"] + cut), sep="")
