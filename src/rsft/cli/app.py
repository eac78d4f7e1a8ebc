"""The commands. Each only reads its arguments and calls what does the work; heavy imports wait until then."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from rsft.cli.chat import chat

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Improve a chat model by rejection sampling: sample replies, score them, accept or reject, train, and again.",
)

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A YAML file, or a shipped recipe's name (demo).")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. sampling.candidates=4.")
]
ScorerOption = Annotated[
    str, typer.Option("--scorer", metavar="NAME", help="The scorer whose threshold is to be certified.")
]
SelectionOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="selection=...", help="Behind another selection than the run's."),
]
IterationOption = Annotated[
    int | None, typer.Option("--iteration", "-i", help="Of this iteration; by default the last that was drawn.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]


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


@app.command()
def run(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    fork: Annotated[
        Path | None,
        typer.Option(
            "--fork", metavar="RUN", help="Begin a run that takes over from this one all that is still valid."
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, help="Run it under so many seeds, each in a folder of its own, and pool them."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a recipe to its end, or go on with it where it was interrupted."""
    from rsft.config import load_recipe

    said = load_recipe(recipe, overrides or ())
    if seeds is not None:
        _run_seeds(said, seeds, fork, as_json)
        return
    if fork is not None and Path(said.run) == fork.absolute():
        from rsft.forking import free_beside

        said = said.model_copy(update={"run": str(free_beside(fork.absolute()))})
    _run(said, as_json, fork)


def _run_seeds(recipe: Any, seeds: int, fork: Path | None, as_json: bool) -> None:
    from rsft.cli.display import reporter
    from rsft.cli.tables import print_seeds
    from rsft.errors import RecipeError
    from rsft.seeds import run_seeds

    if fork is not None:
        raise RecipeError("--seeds begins runs of its own: leave out --fork.")
    with reporter() as tell:
        summary = run_seeds(recipe, seeds, tell)
    _print(summary, as_json, print_seeds)


@app.command()
def resume(run: RunArgument, as_json: JsonOption = False) -> None:
    """Go on with a run where it was interrupted. A finished run is left as it is."""
    from rsft.setup import saved_recipe

    _run(saved_recipe(run), as_json)


def _run(recipe: Any, as_json: bool, fork: Path | None = None) -> None:
    from rsft.cli.display import reporter
    from rsft.cli.tables import print_summary
    from rsft.loop import run as run_loop

    with reporter() as tell:
        summary = run_loop(recipe, tell, fork)
    _print(summary, as_json, print_summary)


@app.command()
def check(recipe: RecipeArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Read the recipe and its prompts, load no weights, and say what the run will do."""
    from rsft.cli.tables import print_plan
    from rsft.config import load_recipe
    from rsft.plan import plan

    _print(plan(load_recipe(recipe, overrides or ())), as_json, print_plan)


@app.command()
def doctor(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="Also look at the servers and keys that it names.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether rsft can work here: versions, device, speed, memory, keys, and what a recipe's servers can do.

    Every check ends in ok, note (slower, or less can be done) or problem, with what to do. Exit code 0 without a
    problem, else 2. No model is loaded. Each server that RECIPE names is sent some ten requests of a few tokens.
    """
    from rsft.cli.doctor import print_examined
    from rsft.config import load_recipe
    from rsft.doctor import examine
    from rsft.errors import RecipeError

    if overrides and recipe is None:
        raise RecipeError("--set overrides a recipe's keys: name one, as in rsft doctor RECIPE --set KEY=VALUE.")
    said = examine(load_recipe(recipe, overrides or ()) if recipe is not None else None)
    _print(said, as_json, print_examined)
    if said["counts"]["problem"]:
        raise typer.Exit(2)


@app.command()
def preview(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    prompts: Annotated[int, typer.Option("--prompts", "-n", min=1, help="Replies to so many conversations.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Show what a few replies become in training: tokens, who sees whom, what is learnt, what was cut."""
    from rsft.cli.tables import print_preview
    from rsft.config import load_recipe
    from rsft.preview import preview as preview_of

    _print(preview_of(load_recipe(recipe, overrides or ()), prompts), as_json, print_preview)


@app.command()
def status(run: RunArgument, as_json: JsonOption = False) -> None:
    """Say how far a run is, also while it runs."""
    from rsft.cli.tables import print_status
    from rsft.reading import status as status_of

    _print(status_of(run), as_json, print_status)


@app.command()
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
    from rsft.cli.tables import print_candidates, print_prompts
    from rsft.reading import Filter, decided_candidates, heldout_replies, prompts_of

    if prompts:
        rows = prompts_of(run, iteration)
        _print(rows, as_json, lambda said: print_prompts(said, limit))
        return
    either = None if accepted == rejected else accepted
    wanted = Filter(accepted=either, iteration=iteration, rule=rule, prompt_id=prompt, arm=arm, limit=limit)
    found = heldout_replies(run, wanted) if heldout else decided_candidates(run, wanted)
    _print(found, as_json, print_candidates)


@app.command()
def sample(
    source: Annotated[str, typer.Argument(metavar="MODEL|RUN", help="A model reference, or a run folder.")],
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="What the user says.")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="A prompt id of the run, instead of TEXT.")] = None,
    iteration: Annotated[
        int | None,
        typer.Option("--iteration", "-i", help="Of a run: 0 for the base, else the policy of this iteration."),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="A system message.")] = None,
    candidates: Annotated[int, typer.Option("--candidates", "-n", min=1)] = 1,
    temperature: Annotated[float, typer.Option("--temperature", "-t", min=0.0)] = 0.7,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1)] = 128,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw replies to one prompt from a model, or from a run's policy (the one that it hands back by default)."""
    from rsft.cli.tables import print_replies
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
    _print(replies, as_json, print_replies)


app.command()(chat)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="RUN_A", help="A run's policy: RUN, RUN@2 or RUN@2:control.")],
    b: Annotated[str, typer.Argument(metavar="RUN_B", help="Another one, likewise; or @2, of the same run.")],
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

    _print(compared(a, b, by, limit), as_json, print_compared)


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the runs are.")] = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """List the runs of a folder: how far each is, and what came of it."""
    from rsft.cli.runs import print_runs
    from rsft.listing import runs_in

    _print(runs_in(folder), as_json, lambda said: print_runs(said, str(folder)))


@app.command()
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
        _print(asdict(served), as_json, lambda _: typer.echo(served.in_words()))

    serve(folder, host, port, open_browser=open_browser, tell=tell)


@app.command()
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

    _print(write_report(run, output, markdown=markdown, cards=cards), as_json, print_report)


@app.command()
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

    _print(cleaned(run, policies=policies, dry_run=dry_run), as_json, print_cleaned)


@app.command()
def score(run: RunArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Score a run's replies again: by scorers that --set changes or adds, and where a score failed. Draws nothing."""
    from rsft.cli.display import reporter
    from rsft.cli.tables import print_rescored
    from rsft.rescoring import rescore

    with reporter() as tell:
        said = rescore(run, overrides or (), tell)
    _print(said, as_json, print_rescored)


@app.command()
def select(
    run: RunArgument,
    overrides: SetOption = None,
    save: Annotated[str | None, typer.Option("--save", metavar="NAME", help="Keep the decisions under a name.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Apply other rules to a run's scores (--set selection=...): what would change. Draws nothing, changes nothing."""
    from rsft.cli.decisions import print_reselected
    from rsft.reselection import reselect

    _print(reselect(run, overrides or (), save), as_json, print_reselected)


@app.command()
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
    _print(said, as_json, print_retrained)


@app.command()
def label(
    run: RunArgument,
    scorer: ScorerOption,
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
    """
    from rsft.cli.labels import label_replies

    label_replies(run, scorer, iteration, aimed, by, verifier, count, export, read, overrides or (), as_json)


@app.command()
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

    _print(calibrated(run, scorer, max_error, confidence, iteration, by, overrides or ()), as_json, print_calibrated)


@app.command()
def scorers(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME|test", help="A scorer, to see its options; or test, as above.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="With test: the recipe whose scorers are tested.")
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
    from rsft.cli.tables import print_scorer, print_scorers
    from rsft.errors import RecipeError

    if recipe is not None:
        raise RecipeError(f"A recipe's scorers are tested by rsft scorers test {recipe}; found '{name}' for test.")
    if ignored := _given(context) - {"name", "as_json"}:
        options = ", ".join(sorted(f"--{'set' if option == 'overrides' else option}" for option in ignored))
        raise RecipeError(f"How a recipe's scorers are tested is said by {options}: rsft scorers test RECIPE.")
    if name is None:
        _print(listed(), as_json, print_scorers)
    else:
        _print(described(name), as_json, print_scorer)


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
    from rsft.cli.tables import print_appraisal
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
    _print(said, as_json, print_appraisal)


@app.command()
def rules(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A rule, to see its options.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the rules of selections, or explain one. NAME may be your own: path/to/file.py:Name."""
    from rsft.appraisal import rule_described, rules_listed
    from rsft.cli.tables import print_rule, print_rules

    if name is None:
        _print(rules_listed(), as_json, print_rules)
    else:
        _print(rule_described(name), as_json, print_rule)


@app.command()
def schema() -> None:
    """Print the recipe's JSON Schema, for editors."""
    from rsft.config.schema import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2))


def _given(context: typer.Context) -> set[str]:
    """The parameters that stand on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def _print(said: Any, as_json: bool, pretty: Any) -> None:
    if as_json:
        typer.echo(json.dumps(said, ensure_ascii=False, indent=2))
    else:
        pretty(said)
