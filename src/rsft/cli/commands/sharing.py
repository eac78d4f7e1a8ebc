"""Handing on what a run made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from rsft.cli.arguments import JsonOption, RunArgument, printed

commands = typer.Typer()


@commands.command()
def export(
    run: RunArgument,
    to: Annotated[
        Path | None, typer.Option("--to", "-o", metavar="FOLDER", help="Write it there; exports/NAME by default.")
    ] = None,
    model: Annotated[
        str,
        typer.Option("--model", help="trained (as the run trained it), adapter, merged, gguf, or none."),
    ] = "trained",
    data: Annotated[
        str,
        typer.Option("--data", help="messages, prompt-completion, sharegpt, openai, dpo, kto, or none."),
    ] = "messages",
    iteration: Annotated[
        int | None,
        typer.Option("--iteration", "-i", min=1, help="The policy of this one; by default what the run hands back."),
    ] = None,
    selection: Annotated[
        str | None,
        typer.Option("--selection", metavar="NAME", help="A named set of decisions, and the policy trained on it."),
    ] = None,
    drawn_in: Annotated[
        int | None, typer.Option("--drawn-in", metavar="N", min=1, help="Only the rows that iteration N drew.")
    ] = None,
    turns: Annotated[
        str,
        typer.Option(
            "--as", help="Conversations as the model read them, or as the user had them: without the template."
        ),
    ] = "model",
    plain: Annotated[
        bool, typer.Option("--plain", help="The format's own columns only, without scores and origin.")
    ] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="Rows as Parquet; JSON Lines by default.")] = False,
    pairs: Annotated[
        str, typer.Option("--pairs", help="dpo: one pair of each prompt and iteration, at random; or all.")
    ] = "one",
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="SCORE", help="dpo: the highest of either side instead, by this score."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="ORG/NAME", help="The name by which others load the adapter's base."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--license", metavar="ID", help="The model's, for its card, e.g. apache-2.0.")
    ] = None,
    data_licence: Annotated[
        str | None, typer.Option("--data-license", metavar="ID", help="The rows', likewise.")
    ] = None,
    converter: Annotated[
        Path | None,
        typer.Option(
            "--converter", metavar="FILE", help="gguf: llama.cpp's convert_hf_to_gguf.py, if not on the path."
        ),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="ORG/NAME", help="Then push both to the hub, by the token in HF_TOKEN."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Push to private repositories.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export, there and on the hub.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write what a run made so that others can load it: the policy that it hands back, and the replies it learnt from.

    FOLDER/model loads with from_pretrained and in vLLM, FOLDER/data with datasets and TRL; each has a card. No licence
    stands there unless you name it. The run itself is only read.
    """
    from rsft.cli.exports import print_exported
    from rsft.errors import RecipeError
    from rsft.exporting import Push, Wanted
    from rsft.exporting import export as exported

    if private and push is None:
        raise RecipeError("--private goes with --push ORG/NAME.")
    # What is no choice is refused by Wanted itself.
    wanted = Wanted(
        model=cast(Any, model),
        data=cast(Any, data),
        iteration=iteration,
        selection=selection,
        drawn_in=drawn_in,
        turns=cast(Any, turns),
        plain=plain,
        parquet=parquet,
        pairs=cast(Any, pairs),
        by=by,
        base=base,
        licence=licence,
        data_licence=data_licence,
        converter=converter,
    )
    to_hub = None if push is None else Push(push, private)
    where = to or Path("exports") / run.absolute().name
    printed(exported(run, where, wanted, force=force, to_hub=to_hub), as_json, print_exported)
