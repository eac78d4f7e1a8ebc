"""What the commands about decisions print for people."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from rsft.cli.console import console, inert, say, say_unbroken
from rsft.wording import share

_LONGEST = 100


def print_rescored(said: dict[str, Any]) -> None:
    """What `rsft score` did, scorer by scorer."""
    table = Table(title=f"{said['replies']} replies", title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in ("scorer", "known", "scored now", "failed", "mean"):
        table.add_column(column, justify="left" if column == "scorer" else "right")
    for name, count in said["scorers"].items():
        mean = "" if count["mean"] is None else f"{count['mean']:.3f}"
        table.add_row(inert(name), *(str(count[key]) for key in ("known", "scored", "failed")), mean)
    console.print(table)
    console.print("The run's own decisions stay as they are.")


def print_reselected(said: dict[str, Any]) -> None:
    """What other rules would change, iteration by iteration."""
    say("Rules: " + ", then ".join(said["selection"]))
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
        for name, key, digits in (("mean words", "words", 1), ("different in effect", "different", 0)):
            table.add_row(name, *(_of_sample(side, key, digits) for side in (before, now)))
        console.print(table)
        say(_of_length(part))
        say(f"{part['in_common']} are in both sets (Jaccard {part['overlap']:.2f}).")
        counts = ", ".join(f"{rule} {count}" for rule, count in part["decided_by"].items() if count)
        say(f"Decided by: {counts}.")
    for side, word in (("over", "just accepted"), ("under", "just rejected")):
        for call in (call for call in said["iterations"][-1]["closest"] if call["side"] == side):
            which = f"  {word} by {call['rule']} ({call['margin']:+.3g}), {call['prompt_id']}"
            say(f"{which}: {_short(call['reply'])}")
    if said["name"] is None:
        say("Nothing is kept. To keep these decisions: --save NAME.")
    else:
        say(f"Kept as '{said['name']}'. To train on it:")
        say_unbroken(f"  rsft train {said['run']} --selection {said['name']}")


def _of_sample(side: dict[str, Any], key: str, digits: int) -> str:
    """What was measured on some of the accepted replies; of how many, if that is not plain."""
    if side[key] is None:
        return ""
    count = side[f"{key}_of"]
    told = key == "different" or count < side["accepted"]
    return f"{side[key]:.{digits}f}" + (f" of {count}" if told else "")


def _of_length(part: dict[str, Any]) -> str:
    """How long all whole replies are, and which scores go with length."""
    said = part["length_correlations"].items()
    known = ", ".join(f"{name} {value:+.2f}" for name, value in said if value is not None)
    words = "" if part["whole"]["words"] is None else f"All whole replies have {part['whole']['words']:.1f} words. "
    return f"{words}Scores go with length (rank correlation): {known or 'none can be told'}."


def print_retrained(said: dict[str, Any]) -> None:
    """What training on a named set came to."""
    say(f"Trained on {said['rows']} replies of '{said['selection']}':")
    say_unbroken(f"  {said['policy']}")
    for whose, acceptance in (("It", said["heldout_acceptance"]), ("The run's own", said["own_heldout_acceptance"])):
        if acceptance:
            say(f"{whose} passes on {share(acceptance)} of the held-out prompts (n = {acceptance['n']}).")


def print_calibrated(said: dict[str, Any]) -> None:
    """A certificate, or why there is none."""
    labels = f"{said['labels']} labels of {said['pool']} prompts, {said['bad']:g} of them bad"
    say(f"'{said['scorer']}', iteration {said['iteration']}: {labels}.")
    if said["left_out"]:
        why = "they are of another draw (another scorer's, or other rules'), and no random ones of this"
        say(f"{said['left_out']} more labels count once what is drawn before them is labelled: {why}.")
    if (refusal := said["refusal"]) is not None:
        say(f"Nothing is certified: {refusal['reason']}.")
        if (wanted := refusal["labels_wanted"]) is not None:
            say(f"About {wanted} labels in all would do:")
            say_unbroken(f"  rsft label {said['run']} --scorer {said['scorer']} --iteration {said['iteration']}")
        return
    found = {name: _percent(value) for name, value in said["certificate"].items()}
    over, bad = said["certificate"]["labelled"], said["certificate"]["bad"]
    say(f"Certified: {said['scorer']} >= {said['certificate']['threshold']:.6g}", style="bold")
    say(f"Of what it accepts, at most {found['max_error']} is bad, with {found['confidence']} confidence.")
    say(f"Over it are {over} labelled replies, {bad:g} of them bad: at least {found['precision']} are good.")
    say(f"It accepts {found['coverage']} of the replies that the other rules leave.")
    for promise in said["stricter"]:
        wanted = "no number of labels would do" if promise["labels"] is None else f"about {promise['labels']} labels"
        which = f"at most {_percent(promise['max_error'])} with {_percent(promise['confidence'])}"
        say(f"For {which}, at this threshold: {wanted}.")
    if (conformal := said["conformal"]) is not None:
        chosen = f"{conformal['chosen']} of the {conformal['of']} replies without a label"
        say(f"Conformal selection, whose promise is of the average only, would choose {chosen}.")


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _LONGEST else plain[:_LONGEST] + "…"
