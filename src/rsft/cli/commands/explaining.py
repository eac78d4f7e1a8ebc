"""What a recipe can be made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import completing
from rsft.cli.arguments import JsonOption, SetOption, printed

commands = typer.Typer()


@commands.command()
def scorers(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|test",
            help="A scorer, to see its options; or test, as above.",
            autocompletion=completing.scorers,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="With test: the recipe whose scorers are tested.",
            autocompletion=completing.recipes,
        ),
    ] = None,
    overrides: SetOption = None,
    rows: Annotated[int, typer.Option("--rows", "-n", min=2, help="test: at most so many prompts.")] = 300,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="FILE", help="test: rows with chosen and rejected, or reply and label."),
    ] = None,
    same: Annotated[
        str | None,
        typer.Option("--same", metavar="FIELD", help="test: wrong replies of prompts alike in this field, too."),
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.svg", help="test: draw what it found.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="test: which wrong replies are taken.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """List the scorers, explain one, or test a recipe's.

    `rsft scorers` lists all of them; `rsft scorers NAME` explains one, with its options and an example. NAME may be
    your own: path/to/file.py:Name.

    `rsft scorers test RECIPE` says how good the recipe's scorers are: whether they tell the references of its prompts
    from replies to other prompts (relevance), from the same with a fact altered (consistency), and from what was said
    before (novelty); what else their scores hang on, and how long they take.
    """
    if name == "test":
        _test_scorers(recipe, overrides or (), rows, labels, same, plot, seed, as_json)
        return
    from rsft.appraisal import described, listed
    from rsft.cli.plug_ins import print_scorer, print_scorers
    from rsft.errors import RecipeError

    if recipe is not None:
        raise RecipeError(f"A recipe's scorers are tested by rsft scorers test {recipe}; found '{name}' for test.")
    if ignored := _given(context) - {"name", "as_json"}:
        options = ", ".join(sorted(f"--{'set' if option == 'overrides' else option}" for option in ignored))
        raise RecipeError(f"How a recipe's scorers are tested is said by {options}: rsft scorers test RECIPE.")
    if name is None:
        printed(listed(), as_json, print_scorers)
    else:
        printed(described(name), as_json, print_scorer)


def _test_scorers(
    recipe: str | None,
    overrides: Sequence[str],
    rows: int,
    labels: str | None,
    same: str | None,
    plot: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    from rsft.appraisal import appraise_recipe
    from rsft.cli.display import reporter
    from rsft.cli.plug_ins import print_appraisal
    from rsft.config import load_recipe
    from rsft.errors import RecipeError

    if recipe is None:
        raise RecipeError("Which recipe's scorers? Write rsft scorers test RECIPE.")
    if labels is not None and same is not None:
        raise RecipeError("--same makes trials of the recipe's prompts, and --labels tests on other rows: give one.")
    if plot is not None and not plot.absolute().parent.is_dir():
        raise RecipeError(f"The folder of --plot {plot} does not exist.")
    with reporter() as tell:
        said = appraise_recipe(load_recipe(recipe, overrides), rows, labels, same, seed, tell)
    if plot is not None:
        from rsft.appraisal.plot import plot as draw

        draw(said, plot)
    printed(said, as_json, print_appraisal)


@commands.command()
def rules(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A rule, to see its options.",
            autocompletion=completing.rules,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the rules of selections, or explain one. NAME may be your own: path/to/file.py:Name."""
    from rsft.appraisal import rule_described, rules_listed
    from rsft.cli.plug_ins import print_rule, print_rules

    if name is None:
        printed(rules_listed(), as_json, print_rules)
    else:
        printed(rule_described(name), as_json, print_rule)


@commands.command()
def schema() -> None:
    """Print the recipe's JSON Schema, for editors."""
    from rsft.config.schema import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2))


def _given(context: typer.Context) -> set[str]:
    """The parameters that stand on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
