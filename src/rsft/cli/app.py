"""The command line put together."""

from __future__ import annotations

from typing import Annotated

import typer

from rsft.cli.commands import deciding, explaining, looking, running, sharing, starting, talking

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Improve a chat model by rejection sampling: sample replies, score them, accept or reject, train, and again.",
)

for room in (starting, running, looking, talking, deciding, sharing, explaining):
    app.add_typer(room.commands)


def _version(wanted: bool) -> None:
    if wanted:
        from rsft.version import __version__

        typer.echo(f"rsft {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
