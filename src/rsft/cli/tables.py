"""What the commands print for people."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rsft.store import ARMS
from rsft.wording import printable, score_gain, share, share_gain

console = Console(highlight=False)


def inert(text: str) -> Text:
    """Text of a user's or a model's, with control characters spelled out, so that it can do nothing to a terminal."""
    return Text(printable(text))


def print_summary(summary: dict[str, Any]) -> None:
    """The closing table: base, each iteration, its control, the gains, and what to try next."""
    if summary["fakes"]:
        console.print(f"This run used fakes ({', '.join(summary['fakes'])}): its numbers say nothing about a model.")
    console.print(_acceptance(summary))
    has_control = any(part["control"] for part in summary["iterations"])
    control = " The control learns from as many candidates, chosen\nat random." if has_control else ""
    console.print(f"In brackets: 95% intervals.{control}")
    _print_drift(summary)
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
        console.print(f"  {_program()} {command}", soft_wrap=True, markup=False)


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
            console.print(inert(line), style="yellow")
    console.print(f"\nThe runs: {', '.join(from_here(run) for run in summary['seeds'])}", soft_wrap=True)


def _by_seed(said: dict[str, Any] | None) -> str:
    return " ".join(f"{value:.0%}" for value in said["by_seed"]) if said else ""


def _print_spent(summary: dict[str, Any]) -> None:
    """What servers with a price have cost, the run's interruptions included."""
    for name, sums in summary["spent"].items():
        tokens = f"{sums['read']:,.0f} tokens read, {sums['written']:,.0f} written"
        line = f"{name}: {sums['requests']:,.0f} requests, {tokens}, cost {sums['cost']:,.2f}"
        console.print(inert(line), soft_wrap=True)


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


def _print_alarms(summary: dict[str, Any]) -> None:
    """What the guards found, and what came of it."""
    for alarm in summary["alarms"]:
        did = {"stop": "the run was stopped", "roll_back": "the run went back to its best policy"}.get(alarm["act"])
        end = f" So {did}." if did else ""
        line = f"! iteration {alarm['iteration']}, {alarm['guard']}: {alarm['why']}.{end}"
        console.print(inert(line), style="yellow")
    if summary["handed_back"] == 0 and summary["iterations"]:
        console.print("No iteration is better than the base: what is handed back is the base model.", style="yellow")


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
        console.print(inert(verdict + why), style="green" if candidate["accepted"] else "red")


def print_prompts(rows: list[dict[str, Any]], limit: int) -> None:
    """How prompts fared: how many in which way, and the first of them one below the other."""
    counts = Counter(row["state"] for row in rows)
    said = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    console.print(f"Iteration {rows[0]['iteration']}, {len(rows)} prompts: {said}")
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("prompt", "state", "accepted", "tokens", "asked"):
        right = column in ("accepted", "tokens")
        table.add_column(column, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    for row in rows[:limit]:
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


def print_scorers(said: list[dict[str, str]]) -> None:
    """All scorers, one line each."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("scorer", "takes", "what it says"):
        table.add_column(column, overflow="fold")
    for scorer in said:
        table.add_row(scorer["name"], scorer["takes"], scorer["says"])
    console.print(table)
    console.print("Options and an example: rsft scorers NAME. How good yours are: rsft scorers test RECIPE.")


def print_rules(said: list[dict[str, str]]) -> None:
    """All rules, one line each."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("rule", "looks at", "what it keeps"):
        table.add_column(column, overflow="fold")
    for rule in said:
        table.add_row(rule["name"], rule["looks_at"], rule["says"])
    console.print(table)
    console.print("Options and an example: rsft rules NAME. What other rules would change in a run: rsft select RUN.")


def print_rule(said: dict[str, Any]) -> None:
    """One rule: what it keeps, its options, an example."""
    _print_plug_in(said, f"{said['name']} looks at {said['looks_at']}")


def print_scorer(said: dict[str, Any]) -> None:
    """One scorer: what it says, its options, an example."""
    _print_plug_in(said, f"{said['name']} takes {said['takes']}")


def _print_plug_in(said: dict[str, Any], title: str) -> None:
    console.print(f"{title}\n", style="dim", markup=False)
    console.print(inert(said["says"]))
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("option", "type", "default", ""):
        table.add_column(column, overflow="fold")
    for option in said["options"]:
        table.add_row(*(inert(option[key]) for key in ("name", "type", "default", "description")))
    if said["options"]:
        console.print(table)
    console.print(inert(said["example"].rstrip()), style="green")


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
        console.print(inert(f"Mind: {warning}"), style="yellow")


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
    return f"{found['value']:.1%} [{100 * found['low']:.0f}, {100 * found['high']:.0f}]"


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


def _program() -> str:
    """What to type for rsft here: it need not be on the path."""
    called = sys.argv[0]
    return "rsft" if shutil.which("rsft") or Path(called).name != "rsft" else called


def from_here(path: str) -> str:
    """A path as one would type it here."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _interval(part: dict[str, Any] | None) -> str:
    if not part or "heldout_acceptance" not in part:
        return ""
    return share(part["heldout_acceptance"])


def _seconds(*parts: dict[str, Any] | None) -> str:
    return f"{sum(sum(part['seconds'].values()) for part in parts if part):.0f}"


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
