"""Running a recipe, and looking at it before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rsft.cli import completing
from rsft.cli.arguments import JsonOption, RecipeArgument, RunArgument, SetOption, printed

commands = typer.Typer()

RayOption = Annotated[
    bool, typer.Option("--ray", help="Sample and score on all machines of the Ray cluster that this one is part of.")
]


@commands.command()
def run(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    fork: Annotated[
        Path | None,
        typer.Option(
            "--fork",
            metavar="RUN",
            help="Begin a run that takes over from this one all that is still valid.",
            autocompletion=completing.runs,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, help="Run it under so many seeds, each in a folder of its own, and pool them."),
    ] = None,
    ray: RayOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a recipe to its end, or go on with it where it was interrupted."""
    from rsft.config import load_recipe

    said = _on_ray(load_recipe(recipe, overrides or ()), ray)
    if seeds is not None:
        _run_seeds(said, seeds, fork, as_json)
        return
    if fork is not None and Path(said.run) == fork.absolute():
        from rsft.forking import free_beside

        said = said.model_copy(update={"run": str(free_beside(fork.absolute()))})
    _run(said, as_json, fork)


def _run_seeds(recipe: Any, seeds: int, fork: Path | None, as_json: bool) -> None:
    from rsft.cli.display import reporter
    from rsft.cli.summaries import print_seeds
    from rsft.errors import RecipeError
    from rsft.seeds import run_seeds

    if fork is not None:
        raise RecipeError("--seeds begins runs of its own: leave out --fork.")
    with reporter() as tell:
        summary = run_seeds(recipe, seeds, tell)
    printed(summary, as_json, print_seeds)


@commands.command()
def resume(run: RunArgument, ray: RayOption = False, as_json: JsonOption = False) -> None:
    """Go on with a run where it was interrupted. A finished run is left as it is."""
    from rsft.saved import saved_recipe

    _run(_on_ray(saved_recipe(run), ray), as_json)


def _on_ray(recipe: Any, wanted: bool) -> Any:
    """The recipe, to be run on the machines that Ray knows of if that is wanted; as it says otherwise."""
    from rsft.config.cluster import ClusterSection

    if not wanted or recipe.cluster is not None:
        return recipe
    return recipe.model_copy(update={"cluster": ClusterSection()})


def _run(recipe: Any, as_json: bool, fork: Path | None = None) -> None:
    from rsft.cli.display import reporter
    from rsft.cli.summaries import print_summary
    from rsft.loop import run as run_loop

    with reporter() as tell:
        summary = run_loop(recipe, tell, fork)
    printed(summary, as_json, print_summary)


@commands.command()
def check(recipe: RecipeArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Read the recipe and its prompts, load no weights, and say what the run will do."""
    from rsft.cli.plans import print_plan
    from rsft.config import load_recipe
    from rsft.plan import plan

    printed(plan(load_recipe(recipe, overrides or ())), as_json, print_plan)


@commands.command()
def doctor(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="Also look at the servers, keys and store that it names.",
            autocompletion=completing.recipes,
        ),
    ] = None,
    overrides: SetOption = None,
    ray: Annotated[bool, typer.Option("--ray", help="Also look at each machine of the Ray cluster.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether rsft can work here: versions, device, speed, memory, keys, and what a recipe's servers can do.

    Every check ends in ok, note (slower, or less can be done) or problem, with what to do. Exit code 0 without a
    problem, else 2. No model is loaded. Each server that RECIPE names is sent some ten requests of a few tokens, and a
    small segment is written to its store and removed.
    """
    from rsft.cli.doctor import print_examined
    from rsft.config import load_recipe
    from rsft.doctor import examine
    from rsft.errors import RecipeError

    if overrides and recipe is None:
        raise RecipeError("--set overrides a recipe's keys: name one, as in rsft doctor RECIPE --set KEY=VALUE.")
    said = load_recipe(recipe, overrides or ()) if recipe is not None else None
    address = said.cluster.ray if said is not None and said.cluster is not None else "auto" if ray else None
    found = examine(said, address)
    printed(found, as_json, print_examined)
    if found["counts"]["problem"]:
        raise typer.Exit(2)


@commands.command()
def preview(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    prompts: Annotated[int, typer.Option("--prompts", "-n", min=1, help="Replies to so many conversations.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Show what a few replies become in training: tokens, who sees whom, what is learnt, what was cut."""
    from rsft.cli.plans import print_preview
    from rsft.config import load_recipe
    from rsft.preview import preview as preview_of

    printed(preview_of(load_recipe(recipe, overrides or ()), prompts), as_json, print_preview)
