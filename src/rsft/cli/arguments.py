"""Arguments that several commands take, and the choice between JSON and words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from rsft.cli import completing
from rsft.wording import inert_json

RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A YAML file, or a shipped recipe's name (demo).", autocompletion=completing.recipes
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", autocompletion=completing.runs)]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key, e.g. sampling.candidates=4, or a line, e.g. 'relevant >= 0.6'.",
    ),
]
ScorerOption = Annotated[
    str, typer.Option("--scorer", metavar="NAME", help="The scorer whose threshold is to be certified.")
]
SelectionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="RULES",
        help="Behind other rules than the run's: selection=[...], or a line, e.g. 'facts >= 0.5'.",
    ),
]
TrackingOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="tracking=...", help="Other trackers than the run's, e.g. tracking=[tensorboard]."),
]
IterationOption = Annotated[
    int | None, typer.Option("--iteration", "-i", help="Of this iteration; by default the last that was drawn.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]


def printed(said: Any, as_json: bool, pretty: Callable[[Any], None]) -> None:
    """Print what a command found: as one JSON document, or as `pretty` does."""
    if as_json:
        typer.echo(inert_json(said))
    else:
        pretty(said)
