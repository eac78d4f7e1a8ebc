"""From a recipe to the working parts of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rsft import registry
from rsft.budget import build_budget
from rsft.config import Recipe, load_recipe, recipe_differences, recipe_yaml
from rsft.config.load import bundled_path, validate
from rsft.config.mistakes import mistakes
from rsft.config.schedule import at_iteration
from rsft.config.section import PlugIn, as_list
from rsft.engines.base import Engine
from rsft.engines.writers import Writer, Writers
from rsft.errors import PromptError, RecipeError, RunError, nearest
from rsft.models.student import Student
from rsft.prompts import check_disjoint, load_prompts
from rsft.scorers import Combined, Scorer, build_scorers, to_standardise
from rsft.selection import Selection, parse_selection
from rsft.selection.better import BetterThan
from rsft.servers import SPENDING
from rsft.store import RunFolder
from rsft.training.base import Trainer
from rsft.training.settings import SftSettings
from rsft.types import Policy, Prompt

LOGS = "servers"
"""The folder of a run where the servers that its engines start have their logs."""

# What to do where an engine can't sample from what is trained.
_SHARED = (
    "A server on this disk may be told of them: engine.policies is adapters (vLLM) or folders (transformers serve). Or "
    "let the server's model write only: engine: local, and sampling: {generators: [{type: openai, ...}]}."
)
_WAYS_OUT = {
    "adapter": _SHARED,
    "weights": _SHARED,
    "hosted": "Sample through the same host (engine: {type: openai, ...}), or train here (training: {type: sft}).",
}


# libyaml's safe loader reads the same ten times as fast; PyYAML may have been built without it.
_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Terms:
    """What one iteration goes by: the recipe as it stands there, the selection of each round of training (candidates
    are drawn for the first), and the trainer."""

    recipe: Recipe
    rounds: Sequence[Selection]
    trainer: Trainer

    @property
    def selection(self) -> Selection:
        return self.rounds[0]


@dataclass(frozen=True, slots=True)
class Checked:
    """Everything of a recipe that can be made ready without loading a model.

    `terms` are the iterations' in order. `selection` measures held-out replies, in all iterations alike: the last one
    that the schedule has.
    """

    train: list[Prompt]
    heldout: list[Prompt]
    anchors: list[Prompt]
    scorers: dict[str, Scorer]
    heldout_scorers: dict[str, Scorer]
    terms: Sequence[Terms]
    selection: Selection


@dataclass(frozen=True, slots=True)
class Parts(Checked):
    """The working parts of a run. `engine` samples from the policies, `student` is what they are trained from, and
    `writers` write the candidates of train prompts."""

    engine: Engine
    student: Student
    writers: Writers

    def release(self) -> None:
        """A policy will be trained now: have all engines leave it the device."""
        for engine in self._engines:
            engine.release()

    def close(self) -> None:
        """Nothing will be sampled any more, by anybody."""
        with ExitStack() as ending:
            for engine in self._engines:
                ending.callback(engine.close)

    @property
    def _engines(self) -> list[Engine]:
        return [self.engine, *(engine for engine in self.writers.engines if engine is not self.engine)]


def check(recipe: Recipe) -> Checked:
    """Build what the recipe names and read its prompts. Raises a UserError for whatever can't be."""
    scorers, heldout_scorers, terms, selection = _plug_ins(recipe)
    train, heldout, anchors = read_prompts(recipe)
    return Checked(train, heldout, anchors, scorers, heldout_scorers, terms, selection)


def set_up(recipe: Recipe, folder: RunFolder) -> Parts:
    """The parts of the run in `folder`: made for a new run; for one that was begun, after checking that it is the same.

    A new run's folder keeps nothing until all parts could be made: a mistake can be mended and the run begun again.
    Raises RunError with the keys that differ if the folder holds a run of another recipe or of another base model.
    """
    begun = (folder.path / "recipe.yaml").is_file()
    if begun:
        refuse_other_recipe(recipe, folder.path)
    scorers, heldout_scorers, terms, selection = _plug_ins(recipe)
    for one in terms:
        one.trainer.check_machine()
    kept = tuple(folder.load_prompts(split) for split in ("train", "heldout", "anchor"))
    there = begun and bool(kept[0])  # they are not if they got damaged
    train, heldout, anchors = kept if there else read_prompts(recipe)
    student = student_of(recipe)
    SPENDING.keep_in(folder.path / "spending.json")
    checked = (train, heldout, anchors, scorers, heldout_scorers, terms, selection)
    with ExitStack() as on_mistakes:
        engine = open_engine(recipe.engine, student, folder.path / LOGS)
        on_mistakes.callback(engine.close)
        writers = open_writers(recipe, engine, student, folder.path / LOGS)
        parts = Parts(*checked, engine=engine, student=student, writers=writers)
        on_mistakes.pop_all()
        on_mistakes.callback(parts.close)
        for scorer in (*scorers.values(), *heldout_scorers.values()):
            scorer.prepare()
        if not begun or saved_recipe(folder.path).loop.iterations < recipe.loop.iterations:
            folder.reopen()
            folder.write_text("recipe.yaml", recipe_yaml(recipe))
        if not there:
            folder.save_prompts(train, heldout, anchors)
        _same_base(folder, engine.base)
        on_mistakes.pop_all()
    return parts


def student_of(recipe: Recipe) -> Student:
    """The model that the recipe trains. Nothing is loaded yet."""
    trainer = _trainer(recipe)
    rank = trainer.lora.rank if isinstance(trainer, SftSettings) and trainer.lora else None
    return Student(tuple(recipe.model), recipe.dtype, recipe.trust_remote_code, rank)


def open_engine(spec: str | Mapping[str, Any], student: Student | None, folder: Path) -> Engine:
    """The engine of this name or with these options. What it logs goes to the folder. Raises a UserError where it can't
    work here."""
    name, options = _named(spec)
    engine: Engine = registry.load("engine", name).open(options, student, folder)
    return engine


def open_writers(recipe: Recipe, engine: Engine, student: Student, folder: Path) -> Writers:
    """Who writes the candidates of train prompts, each with a folder of its own for logs. Raises a UserError where one
    of them can't, with those closed that could."""
    said = recipe.sampling
    specs = said.generators or ([{"type": "local", "model": said.model}] if said.model else ["policy"])
    writers: list[Writer] = []
    with ExitStack() as on_mistakes:
        for number, spec in enumerate(specs, 1):
            writers.append(_writer(spec, recipe, engine, student, folder / f"writer-{number}"))
            if writers[-1].engine is not engine:
                on_mistakes.callback(writers[-1].engine.close)
        if sum(writer.engine is engine for writer in writers) > 1:
            raise RecipeError("sampling.generators: policy is there twice. Name it once, with a share.")
        _refuse_uncounted(recipe, writers)
        on_mistakes.pop_all()
    return Writers(writers)


def _refuse_uncounted(recipe: Recipe, writers: Sequence[Writer]) -> None:
    """Raise RecipeError for a bound on tokens where a writer tells texts, and no tokenizer is at hand to count them."""
    if recipe.budget.max_tokens is None:
        return
    from rsft.engines.remote.engine import RemoteEngine

    for writer in writers:
        if isinstance(writer.engine, RemoteEngine) and writer.engine.calls.chat is None and writer.tokenizer is None:
            raise RecipeError(
                f"budget.max_tokens is {recipe.budget.max_tokens}, and the tokens of '{writer.engine.options.model}' "
                "can't be counted here: there is no tokenizer of it, nor of the recipe's model. Bound the candidates "
                "(budget.max_candidates), or the cost (engine.max_cost)."
            )


def _writer(spec: PlugIn, recipe: Recipe, engine: Engine, student: Student, folder: Path) -> Writer:
    options = {"type": spec} if isinstance(spec, str) else dict(spec)
    share = options.pop("share", 1)
    if not isinstance(share, int) or isinstance(share, bool) or share < 1:
        raise RecipeError(f"sampling.generators: a share is a number from 1 on; found {share!r}.")
    if options.get("type") == "policy":
        if further := sorted(options.keys() - {"type"}):
            raise RecipeError(f"sampling.generators: policy has no option but share; found '{further[0]}'.")
        return Writer(engine, share=share)
    if options.get("type") not in ("local", "vllm"):  # it is known by its name only, and tells texts
        written = open_engine(options, None, folder)
        return Writer(written, written.base, share, (lambda: student.chat) if student.is_here else None)
    references = as_list(options.pop("model", None))
    if not references:
        kind = options["type"]
        raise RecipeError(f"sampling.generators: {{type: {kind}}} needs a model; the run's own is called policy.")
    other = Student(tuple(references), recipe.dtype, recipe.trust_remote_code)
    written = open_engine(options, other, folder)
    return Writer(written, written.base, share, None if other.reads_like(student) else lambda: student.chat)


def read_prompts(recipe: Recipe) -> tuple[list[Prompt], list[Prompt], list[Prompt]]:
    """The recipe's train and held-out prompts and its anchors, from their files."""
    said = recipe.prompts

    def read(sources: list[str], limit: int | None) -> list[Prompt]:
        files = [bundled_path(source) for source in sources]
        return load_prompts(files, template=said.template, system=said.system, limit=limit)

    train = read(said.train, said.train_limit)
    heldout = read(said.heldout, said.heldout_limit) if said.heldout else []
    check_disjoint(train, heldout)
    return train, heldout, _anchors(recipe)


def _anchors(recipe: Recipe) -> list[Prompt]:
    """The recipe's anchor rows, whose ids meet no prompt's. Raises PromptError for one without a reply to learn."""
    said = recipe.training.anchor
    if said is None:
        return []
    rows = load_prompts([bundled_path(source) for source in said.rows], limit=said.limit)
    for row in rows:
        reply = row.fields.get("reference")
        if not isinstance(reply, str) or not reply.strip():
            raise PromptError(
                f"The anchor row '{row.id}' (training.anchor.rows) has no reply to learn: its conversation must end "
                "with a turn of the assistant's, or its field 'reference' hold a text."
            )
    return [replace(row, id=f"anchor:{row.id}") for row in rows]


def saved_recipe(folder: Path) -> Recipe:
    """The resolved recipe of a run folder."""
    file = folder / "recipe.yaml"
    if not file.is_file() and (seeds := sorted(folder.glob("seed_*/recipe.yaml"))):
        raise RunError(f"{folder} holds the runs of several seeds. Name one of them: {seeds[0].parent}, for example.")
    try:
        said = yaml.load(file.read_text(encoding="utf-8"), Loader=_SAFE_LOADER)
    except (OSError, yaml.YAMLError) as error:
        raise RunError(f"{folder} holds no readable recipe.yaml, so it is not a run folder: {error}") from None
    return validate(said | {"run": str(folder.absolute())}, where=str(file))


def changed_recipe(folder: Path, overrides: Sequence[str], *may_change: str) -> Recipe:
    """A run's recipe with overrides. Raises RecipeError for those that change other keys than may change.

    A selection that is given here stands in all iterations, whatever the schedule has.
    """
    recipe, saved = load_recipe(folder, overrides), saved_recipe(folder)
    if recipe.selection != saved.selection:
        recipe = with_selection(recipe, recipe.selection)
        saved = saved.model_copy(update={"loop": recipe.loop})
    others = [line for line in recipe_differences(saved, recipe) if not line.startswith(may_change)]
    if others:
        lines = "\n".join(f"  - {line}" for line in others)
        raise RecipeError(f"Of a run that is there, only {' and '.join(may_change)} can be changed here:\n{lines}")
    return recipe


def with_selection(recipe: Recipe, rules: Sequence[str | Mapping[str, Any]]) -> Recipe:
    """The recipe with these rules in all iterations, whatever its schedule has."""
    kept = {key: values for key, values in recipe.loop.schedule.items() if key != "selection"}
    loop = recipe.loop.model_copy(update={"schedule": kept})
    return recipe.model_copy(update={"selection": list(rules), "loop": loop})


def refuse_other_recipe(recipe: Recipe, folder: Path) -> None:
    """Raise RunError, with the keys that differ, if the folder holds a run of another recipe.

    More iterations are no other recipe: the run goes on. Fewer are.
    """
    saved = saved_recipe(folder)
    changed = recipe_differences(saved, recipe)
    if recipe.loop.iterations < saved.loop.iterations:
        changed.append(f"loop.iterations: {saved.loop.iterations} → {recipe.loop.iterations}")
    if changed:
        lines = "\n".join(f"  - {line}" for line in changed)
        raise RunError(
            f"The run folder {folder} holds a run of another recipe:\n{lines}\n"
            f"Go on with it as it is (rsft resume {folder}), name another folder (--set run=...), or start a run that "
            f"takes over all that is still valid (--fork {folder})."
        )


def refuse_many_processes() -> None:
    """Raise RunError where a launcher (accelerate's, torchrun) started this run several times."""
    processes = int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1
    if processes > 1:
        raise RunError(
            f"This run was started {processes} times, by accelerate launch or torchrun. Start it once: it launches the"
            " processes that train by itself, as training.launch says (--set training.launch=ddp; or fsdp2, zero3, or a"
            " configuration of accelerate)."
        )


def _plug_ins(recipe: Recipe) -> tuple[dict[str, Scorer], dict[str, Scorer], Sequence[Terms], Selection]:
    scorers = build_scorers(recipe.scorers, recipe.model)
    terms = [_terms(at_iteration(recipe, iteration), scorers) for iteration in range(1, recipe.loop.iterations + 1)]
    measuring = measuring_rules(recipe)
    measuring.check(list(scorers))
    return scorers, _heldout_scorers(recipe), terms, measuring


def measuring_rules(recipe: Recipe) -> Selection:
    """The rules that judge held-out replies: in all iterations alike, the last that the schedule has."""
    return parse_selection(at_iteration(recipe, sys.maxsize).selection)


def _terms(recipe: Recipe, scorers: Mapping[str, Scorer]) -> Terms:
    """The terms of an iteration in which the recipe stands so."""
    rules = list(recipe.selection)
    rounds = [parse_selection(rules), *(parse_selection([*rules, further]) for further in recipe.loop.improve)]
    for selection in rounds:
        selection.check(list(scorers))
        _check_baselines(recipe, selection)
    _check_budget(recipe, rounds[0], scorers)
    trainer = _trainer(recipe)
    _refuse_unserved(recipe, trainer)
    return Terms(recipe, rounds, trainer)


def _check_baselines(recipe: Recipe, selection: Selection) -> None:
    for rule in selection.rules:
        if isinstance(rule, BetterThan) and rule.baseline not in recipe.baselines:
            raise RecipeError(
                f"The rule '{rule.name}' compares with the baseline '{rule.baseline}', and the recipe's baselines are "
                f"{', '.join(recipe.baselines) or 'none'}. Add it: baselines: [{rule.baseline}] (greedy or reference)."
            )


def _heldout_scorers(recipe: Recipe) -> dict[str, Scorer]:
    """The scorers that no selection sees."""
    scorers = build_scorers(recipe.evaluation.scorers, recipe.model)
    if twice := sorted(scorers.keys() & recipe.scorers.keys()):
        raise RecipeError(
            f"evaluation.scorers and scorers both have '{twice[0]}'. A held-out scorer never selects: give it a name "
            "of its own, and let it be of another kind."
        )
    if to_standardise(scorers):
        raise RecipeError("evaluation.scorers can't be standardised: leave out `standardise`.")
    return scorers


def _check_budget(recipe: Recipe, selection: Selection, scorers: Mapping[str, Scorer]) -> None:
    """Raise RecipeError for a budget that can't be."""
    build_budget(recipe.budget, recipe.sampling, selection)
    said = recipe.budget.speculative
    able = [name for name, scorer in scorers.items() if not isinstance(scorer, Combined)]
    if said is not None and said.by not in able:
        raise RecipeError(
            f"budget.speculative.by names the scorer '{said.by}', which is not there, or combines others."
            f"{nearest(said.by, able)} The scorers are {', '.join(able)}."
        )


def _same_base(folder: RunFolder, base: Policy) -> None:
    known = folder.ledger.meta("base")
    if known is None:
        folder.ledger.set_meta("base", base.hash)
    elif known != base.hash:
        raise RunError(
            f"The run in {folder.path} began with a base model of hash {known}; the recipe's model has {base.hash}. "
            "Bring the first one back, or start another run (--set run=...)."
        )


def _refuse_unserved(recipe: Recipe, trainer: Trainer) -> None:
    """Raise RecipeError where the engine can't sample from what the trainer trains."""
    name, options = _named(recipe.engine)
    engine = registry.load("engine", name)
    if trainer.trains is None or trainer.trains in engine.serves(options):
        return
    where = {
        "adapter": "adapters on this machine",
        "weights": "whole weights on this machine",
        "hosted": "policies at a host, which serves them by name",
    }
    raise RecipeError(
        f"The recipe can't be used: training by '{recipe.training.type}' makes {where[trainer.trains]}, and the engine "
        f"'{name}', as it stands here, can't sample from these. {_WAYS_OUT[trainer.trains]}"
    )


def _named(spec: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A plug-in's name and options."""
    if isinstance(spec, str):
        return spec, {}
    options = dict(spec)
    name = options.pop("type", None)
    if not isinstance(name, str):
        raise RecipeError(f"engine: a mapping needs a 'type'; found {dict(spec)}.")
    return name, options


def _trainer(recipe: Recipe) -> Trainer:
    kind = registry.load("trainer", recipe.training.type)
    try:
        trainer: Trainer = kind.model_validate(recipe.training.options)
    except ValidationError as error:
        name = f"training by '{recipe.training.type}'"
        lines = "\n".join(f"  - {line}" for line in mistakes(error, kind, name, prefix="training"))
        raise RecipeError(f"The recipe can't be used:\n{lines}") from None
    return trainer
