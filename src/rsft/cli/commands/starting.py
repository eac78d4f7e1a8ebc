"""Beginning: a first recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import completing
from rsft.cli.arguments import JsonOption

commands = typer.Typer()


@commands.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recipe to write.")] = Path("bot.yaml"),
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            help="service, assistant, character, social, maths, code or distillation (from a hosted model).",
            autocompletion=completing.kinds,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help="Hub name, folder or package:NAME; of several the first there."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="FILE", help="JSONL, JSON, CSV, Parquet or a datasets name; repeatable."),
    ] = None,
    heldout: Annotated[
        list[str] | None, typer.Option("--heldout", metavar="FILE", help="The same, never trained on; repeatable.")
    ] = None,
    share: Annotated[
        float | None,
        typer.Option("--heldout-share", metavar="SHARE", help="Or split off such a share of the data, e.g. 0.1."),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="WHAT=COLUMN", help="What a column is, e.g. prompt=question; repeatable."),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option("--teacher", metavar="NAME", help="distillation: the hosted model that writes.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option("--judge", metavar="NAME", help="distillation: the hosted model that judges.")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="distillation: where their server is; OpenAI's.")] = None,
    key_env: Annotated[
        str | None,
        typer.Option("--key-env", metavar="VARIABLE", help="distillation: the environment variable with its key."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take what is proposed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a commented recipe for a kind of bot on your data, and check it.

    Asks for what is not said here. Looks at the data: which columns it has, what they are, three rows as the model will
    read them. Where columns have other names, or a share is held out, the rows are written anew beside the recipe.
    """
    from rsft.cli.asking import Said
    from rsft.cli.starting import columns_said, start

    said = Said(
        file=file,
        kind=kind,
        models=tuple(model or ()),
        data=tuple(data or ()),
        heldout=tuple(heldout or ()),
        share=share,
        columns=columns_said(columns or ()),
        teacher=teacher,
        judge=judge,
        url=url,
        key_env=key_env,
    )
    start(said, yes=yes, force=force, as_json=as_json)
