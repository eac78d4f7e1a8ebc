"""Looking at runs and at what they hold."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import completing
from rsft.cli.arguments import JsonOption, RunArgument, TrackingOption, printed

commands = typer.Typer()


@commands.command()
def status(run: RunArgument, as_json: JsonOption = False) -> None:
    """Say how far a run is, also while it runs."""
    from rsft.cli.summaries import print_status
    from rsft.reading import status as status_of

    printed(status_of(run), as_json, print_status)


@commands.command()
def show(
    run: RunArgument,
    accepted: Annotated[bool, typer.Option("--accepted", help="Only accepted candidates.")] = False,
    rejected: Annotated[bool, typer.Option("--rejected", help="Only rejected candidates.")] = False,
    iteration: Annotated[int | None, typer.Option("--iteration", "-i", help="Only this iteration.")] = None,
    rule: Annotated[str | None, typer.Option("--rule", help="Only what this rule decided, e.g. 'facts >= 1'.")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="Only candidates of this prompt id.")] = None,
    arm: Annotated[str, typer.Option("--arm", help="policy, or control.")] = "policy",
    heldout: Annotated[
        bool, typer.Option("--heldout", help="Greedy replies to held-out prompts instead, of the best iteration.")
    ] = False,
    prompts: Annotated[
        bool, typer.Option("--prompts", help="How each prompt fared instead: unsolved, deferred, always solved ...")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Show candidates with all their scores, the decision, and the rule that made it."""
    from rsft.cli.replies import print_candidates, print_prompts
    from rsft.reading import Filter, decided_candidates, heldout_replies, prompts_of

    if prompts:
        fared = prompts_of(run, iteration, None if as_json else limit)
        printed(fared.rows, as_json, lambda _: print_prompts(fared))
        return
    either = None if accepted == rejected else accepted
    wanted = Filter(accepted=either, iteration=iteration, rule=rule, prompt_id=prompt, arm=arm, limit=limit)
    found = heldout_replies(run, wanted) if heldout else decided_candidates(run, wanted)
    printed(found, as_json, print_candidates)


@commands.command()
def sample(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|RUN",
            help="A model reference, or a run folder.",
            autocompletion=completing.runs,
        ),
    ],
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="What the user says.")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="A prompt id of the run, instead of TEXT.")] = None,
    iteration: Annotated[
        int | None,
        typer.Option("--iteration", "-i", help="Of a run: 0 for the base, else the policy of this iteration."),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="A system message.")] = None,
    candidates: Annotated[int, typer.Option("--candidates", "-n", min=1, help="So many replies.")] = 1,
    temperature: Annotated[float, typer.Option("--temperature", "-t", min=0.0, help="0 is greedy.")] = 0.7,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="A reply's most tokens.")] = 128,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same replies.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw replies to one prompt from a model, or from a run's policy (the one that it hands back by default)."""
    from rsft.cli.replies import print_replies
    from rsft.sampling import sample_replies
    from rsft.types import SamplingParams

    replies = sample_replies(
        source,
        text=text,
        prompt_id=prompt,
        iteration=iteration,
        system=system,
        candidates=1 if temperature == 0 else candidates,
        params=SamplingParams(temperature=temperature, max_tokens=max_tokens),
        seed=seed,
    )
    printed(replies, as_json, print_replies)


@commands.command()
def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="RUN_A",
            help="A run's policy: RUN, RUN@2 or RUN@2:control.",
            autocompletion=completing.runs,
        ),
    ],
    b: Annotated[
        str,
        typer.Argument(
            metavar="RUN_B",
            help="Another one, likewise; or @2, of the same run.",
            autocompletion=completing.runs,
        ),
    ],
    by: Annotated[
        str, typer.Option("--by", metavar="SCORE", help="Order prompts by the change in this score.")
    ] = "acceptance",
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="At most so many replies of each kind.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Compare two policies on the held-out prompts of both: differences with intervals, and regressions first.

    RUN is the policy that the run hands back, RUN@2 that of iteration 2, RUN@0 the base, RUN@2:control its control's.
    """
    from rsft.cli.runs import print_compared
    from rsft.comparison import compare as compared

    printed(compared(a, b, by, limit), as_json, print_compared)


@commands.command()
def runs(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the runs are.")] = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """List the runs of a folder: how far each is, and what came of it."""
    from rsft.cli.runs import print_runs
    from rsft.listing import runs_in

    printed(runs_in(folder), as_json, lambda said: print_runs(said, str(folder)))


@commands.command()
def ui(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the runs are.")] = Path("runs"),
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Listen here; 0 takes any that is free.")
    ] = 7878,
    host: Annotated[
        str, typer.Option("--host", help="Listen at this address; by default only this machine can ask.")
    ] = "127.0.0.1",
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open it in a browser.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Look at the runs of a folder in a browser, also while they go on; move their thresholds, and label their replies.

    It starts no run, and asks no other machine for anything. The address that it prints holds a key, new with every
    start: who has it can see the runs.
    """
    from rsft.web.serve import Served, serve

    def tell(served: Served) -> None:
        printed(asdict(served), as_json, lambda _: typer.echo(served.in_words()))

    serve(folder, host, port, open_browser=open_browser, tell=tell)


@commands.command()
def report(
    run: RunArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there; RUN/report.html by default.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Write Markdown, without pictures, instead.")] = False,
    cards: Annotated[
        bool, typer.Option("--cards", help="Also write MODEL_CARD.md and DATASET_CARD.md beside it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write what came of a run as one page that can be read anywhere, offline. The run may still be at work.

    What happened in three sentences; held-out acceptance beside base and control; scores and the rules' lines; hard and
    easy prompts; diversity, tokens, seconds; alarms; accepted and rejected replies near the line; the recipe.
    """
    from rsft.cli.runs import print_report
    from rsft.report.write import write_report

    printed(write_report(run, output, markdown=markdown, cards=cards), as_json, print_report)


@commands.command()
def clean(
    run: RunArgument,
    policies: Annotated[
        bool, typer.Option("--policies", help="Also the weights of policies that nothing needs any more.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Free what a run does not need: what a crash left behind and, if so asked, the weights of superseded policies.

    Candidates, scores, decisions and labels always stay; so do the policy that the run hands back and those from which
    it would go on to further iterations.
    """
    from rsft.cleaning import clean as cleaned
    from rsft.cli.runs import print_cleaned

    printed(cleaned(run, policies=policies, dry_run=dry_run), as_json, print_cleaned)


@commands.command()
def track(run: RunArgument, overrides: TrackingOption = None, as_json: JsonOption = False) -> None:
    """Tell trackers of a run what they have not been told yet: of one that was not tracked, say."""
    from rsft.cli.display import reporter
    from rsft.cli.runs import print_tracked
    from rsft.telling import tell_trackers

    with reporter() as tell:
        said = tell_trackers(run, overrides or (), tell)
    printed(said, as_json, print_tracked)
    if any(one["failure"] for one in said["trackers"].values()):
        raise typer.Exit(2)
