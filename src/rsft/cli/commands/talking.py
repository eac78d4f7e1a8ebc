"""Talking to a run's models."""

from __future__ import annotations

from typing import Annotated

import typer

from rsft.cli.arguments import RunArgument

commands = typer.Typer()


@commands.command()
def chat(
    run: RunArgument,
    policy: Annotated[
        str,
        typer.Option("--policy", metavar="WHO", help="best (what the run hands back), base, an iteration, or ARM@N."),
    ] = "best",
    beside: Annotated[
        list[str] | None,
        typer.Option("--beside", metavar="WHO", help="Another one beside it, e.g. base or control@2; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed and turns give the same replies.")] = 0,
    system: Annotated[str | None, typer.Option("--system", help="A system message.")] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="NAME=VALUE", help="A field that the recipe's template or a scorer reads."),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Without the recipe's template and system message around your turns.")
    ] = False,
    here: Annotated[
        bool, typer.Option("--here", help="Answer in this process, though the recipe's engine is a server.")
    ] = False,
    temperature: Annotated[
        float | None, typer.Option("--temperature", "-t", min=0.0, help="0 is greedy; the run's by default.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="A reply's most tokens; the run's by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line instead.")] = False,
) -> None:
    """Talk to a run's policy, the base and controls, side by side. /help lists what can be typed beside turns.

    Each goes on from its own replies, drawn by the recipe's sampling law, and reads your turns as the recipe's prompts
    are put to it in training. Turns can be piped: one a line.
    """
    from rsft.cli.chat import talk_in_terminal
    from rsft.talking import Wish, field_of

    wish = Wish(
        speakers=(policy, *(beside or ())),
        seed=seed,
        system=system,
        fields=dict(field_of(said) for said in fields or ()),
        plain=plain,
        here=here,
        temperature=temperature,
        max_tokens=max_tokens,
    )
    talk_in_terminal(run, wish, as_json=as_json)
