"""Deciding anew on what a run holds: scores, rules, labels, thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli.arguments import (
    IterationOption,
    JsonOption,
    RunArgument,
    ScorerOption,
    SelectionOption,
    SetOption,
    printed,
)

commands = typer.Typer()


@commands.command()
def score(run: RunArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Score a run's replies again: by scorers that --set changes or adds, and where a score failed. Draws nothing."""
    from rsft.cli.decisions import print_rescored
    from rsft.cli.display import reporter
    from rsft.rescoring import rescore

    with reporter() as tell:
        said = rescore(run, overrides or (), tell)
    printed(said, as_json, print_rescored)


@commands.command()
def select(
    run: RunArgument,
    overrides: SetOption = None,
    save: Annotated[str | None, typer.Option("--save", metavar="NAME", help="Keep the decisions under a name.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Apply other rules to a run's scores (--set 'facts >= 0.5'): what would change. Draws nothing, changes nothing."""
    from rsft.cli.decisions import print_reselected
    from rsft.reselection import reselect

    printed(reselect(run, overrides or (), save), as_json, print_reselected)


@commands.command()
def train(
    run: RunArgument,
    selection: Annotated[str, typer.Option("--selection", metavar="NAME", help="A set that rsft select --save kept.")],
    as_json: JsonOption = False,
) -> None:
    """Train on a named set of decisions, beside the run's own, and measure it on the held-out prompts."""
    from rsft.cli.decisions import print_retrained
    from rsft.cli.display import reporter
    from rsft.retraining import retrain

    with reporter() as tell:
        said = retrain(run, selection, tell)
    printed(said, as_json, print_retrained)


@commands.command()
def label(
    run: RunArgument,
    scorer: Annotated[
        str | None, typer.Option("--scorer", metavar="NAME", help="The scorer whose threshold is to be certified.")
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option("--pairs", metavar="A,B", help="Compare two policies' held-out replies, e.g. base,policy@2."),
    ] = None,
    iteration: IterationOption = None,
    aimed: Annotated[
        bool, typer.Option("--aimed", help="Hard cases instead of a random draw: to look at, not to calibrate on.")
    ] = False,
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who labels; your login by default.")] = None,
    verifier: Annotated[
        str | None, typer.Option("--verifier", metavar="RULE", help="Have a rule label, e.g. 'facts >= 1'.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="At most this many.")] = 200,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write CSV or JSONL to fill in.")
    ] = None,
    read: Annotated[Path | None, typer.Option("--import", metavar="FILE", help="Read such a file.")] = None,
    overrides: SelectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say of a run's replies whether they are good: one key each, u takes the last back, q ends; go on at any time.

    The replies are a random draw, one of each prompt, from what the rules leave but for the line on --scorer. With such
    labels rsft calibrate finds where that line may be.

    With --pairs: say which of two replies is better, without being told whose they are; rsft report tells who won.
    """
    from rsft.cli.labels import compare_replies, label_replies
    from rsft.errors import RecipeError

    if pairs is not None:
        one_by_one = (scorer, iteration, verifier, export, read)
        if aimed or overrides or any(way is not None for way in one_by_one):
            raise RecipeError("With --pairs go --by, --count and --json only.")
        compare_replies(run, pairs, by, count, as_json)
        return
    if scorer is None:
        raise RecipeError("Say what is to be labelled: --scorer NAME (one by one) or --pairs A,B (side by side).")
    label_replies(
        run,
        scorer,
        iteration=iteration,
        aimed=aimed,
        by=by,
        verifier=verifier,
        count=count,
        export=export,
        read=read,
        overrides=overrides or (),
        as_json=as_json,
    )


@commands.command()
def calibrate(
    run: RunArgument,
    scorer: ScorerOption,
    max_error: Annotated[
        float, typer.Option("--max-error", min=0.001, max=0.999, help="Of what is accepted, at most so much is bad.")
    ] = 0.1,
    confidence: Annotated[float, typer.Option("--confidence", min=0.5, max=0.9999, help="With this confidence.")] = 0.9,
    iteration: IterationOption = None,
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="This labeller's labels only.")] = None,
    overrides: SelectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the most lenient threshold that keeps a promise, from the labels of rsft label; or say why none does."""
    from rsft.calibrating import calibrate as calibrated
    from rsft.cli.decisions import print_calibrated

    printed(calibrated(run, scorer, max_error, confidence, iteration, by, overrides or ()), as_json, print_calibrated)
