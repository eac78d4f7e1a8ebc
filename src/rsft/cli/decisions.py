"""What the commands about decisions print for people."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from rsft.cli.tables import console, inert

_LONGEST = 100


def print_reselected(said: dict[str, Any]) -> None:
    """What other rules would change, iteration by iteration."""
    console.print(inert("Rules: " + ", then ".join(said["selection"])))
    for part in said["iterations"]:
        before, now = part["before"], part["now"]
        table = Table(
            title=f"Iteration {part['iteration']}, {part['candidates']} candidates",
            title_justify="left",
            box=box.SIMPLE,
            pad_edge=False,
        )
        for column in ("", "before", "now", *part["baselines"]):
            table.add_column(column, justify="left" if column == "" else "right")
        table.add_row("accepted", str(before["accepted"]), str(now["accepted"]))
        table.add_row("prompts with one", str(before["prompts"]), str(now["prompts"]))
        for name, mean in now["means"].items():
            beside = (_number(means[name]) for means in part["baselines"].values())
            table.add_row(inert(f"mean {name}"), _number(before["means"][name]), _number(mean), *beside)
        console.print(table)
        console.print(f"{part['in_common']} are in both sets (Jaccard {part['overlap']:.2f}).")
        counts = ", ".join(f"{rule} {count}" for rule, count in part["decided_by"].items() if count)
        console.print(inert(f"Decided by: {counts}."))
        for side, word in (("over", "just accepted"), ("under", "just rejected")):
            for call in (call for call in part["closest"] if call["side"] == side):
                which = f"  {word} by {call['rule']} ({call['margin']:+.3g}), {call['prompt_id']}"
                console.print(inert(f"{which}: {_short(call['reply'])}"))
    if said["name"] is None:
        console.print("Nothing is kept. To keep these decisions: --save NAME.")
    else:
        console.print(f"Kept as '{said['name']}'. To train on it: rsft train {said['run']} --selection {said['name']}")


def print_retrained(said: dict[str, Any]) -> None:
    """What training on a named set came to."""
    console.print(f"Trained on {said['rows']} replies of '{said['selection']}': {said['policy']}", soft_wrap=True)
    for whose, acceptance in (("It", said["heldout_acceptance"]), ("The run's own", said["own_heldout_acceptance"])):
        if acceptance:
            console.print(
                f"{whose} passes on {acceptance['value']:.1%} [{100 * acceptance['low']:.0f}, "
                f"{100 * acceptance['high']:.0f}] of the held-out prompts (n = {acceptance['n']})."
            )


def print_calibrated(said: dict[str, Any]) -> None:
    """A certificate, or why there is none."""
    console.print(
        f"'{said['scorer']}', iteration {said['iteration']}: {said['labels']} labels of {said['pool']} prompts, "
        f"{said['bad']:g} of them bad."
    )
    if (refusal := said["refusal"]) is not None:
        console.print(f"Nothing is certified: {refusal['reason']}.")
        if (wanted := refusal["labels_wanted"]) is not None:
            console.print(f"About {wanted} labels would do: rsft label {said['run']} --scorer {said['scorer']}")
        return
    found = said["certificate"]
    console.print(f"Certified: {said['scorer']} >= {found['threshold']:.6g}", style="bold")
    console.print(
        f"Of what it accepts, at most {_percent(found['max_error'])} is bad, with {_percent(found['confidence'])} "
        f"confidence. Over it are {found['labelled']} labelled replies, {found['bad']:g} of them bad: at least "
        f"{_percent(found['precision'])} are good. It accepts {_percent(found['coverage'])} of the replies that the "
        "other rules leave."
    )
    for promise in said["stricter"]:
        labels = "no number of labels would do" if promise["labels"] is None else f"about {promise['labels']} labels"
        console.print(
            f"For at most {_percent(promise['max_error'])} with {_percent(promise['confidence'])}, at this threshold: "
            f"{labels}."
        )
    if (conformal := said["conformal"]) is not None:
        console.print(
            f"Conformal selection, whose promise is of the average only, would choose {conformal['chosen']} of the "
            f"{conformal['of']} replies without a label."
        )


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _LONGEST else plain[:_LONGEST] + "…"
