"""Who takes part in a run: the model that learns, the engines that sample, who writes, and the trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rsft import registry
from rsft.config import Recipe
from rsft.config.cluster import ClusterSection
from rsft.config.mistakes import mistakes
from rsft.config.section import PlugIn, as_list
from rsft.engines.base import Engine
from rsft.engines.build import engine_kind
from rsft.engines.writers import Writer, Writers
from rsft.errors import RecipeError
from rsft.models.student import Student
from rsft.training.base import Trainer
from rsft.training.settings import SftSettings

LOGS = "servers"
"""The folder of a run where the servers that its engines start have their logs."""

# Engines whose server does the work, wherever that is.
_ASKED_FROM_HERE = ("openai",)
# What to do where an engine can't sample from what is trained.
_SHARED = (
    "A server on this disk may be told of them: engine.policies is adapters (vLLM) or folders (transformers serve). Or "
    "let the server's model write only: engine: local, and sampling: {generators: [{type: openai, ...}]}."
)
_OF_ONES_OWN = (
    "Have its class say that it can (trained, see rsft.engines.OwnEngine); or let it write only: engine: local, and "
    "sampling: {{generators: [{{type: {name}, ...}}]}}."
)
_WAYS_OUT = {
    "adapter": _SHARED,
    "weights": _SHARED,
    "hosted": "Sample through the same host (engine: {type: openai, ...}), or train here (training: {type: sft}).",
}


def student_of(recipe: Recipe) -> Student:
    """The model that the recipe trains. Nothing is loaded yet."""
    trainer = trainer_of(recipe)
    rank = trainer.lora.rank if isinstance(trainer, SftSettings) and trainer.lora else None
    return Student(tuple(recipe.model), recipe.dtype, recipe.trust_remote_code, rank)


def open_engine(
    spec: str | Mapping[str, Any], student: Student | None, folder: Path, cluster: ClusterSection | None = None
) -> Engine:
    """The engine of this name or with these options, at work here or on the cluster's machines. What it logs goes to
    the folder. Raises a UserError where it can't work there."""
    name, options = _named(spec)
    kind = engine_kind(name)
    if cluster is None or name in _ASKED_FROM_HERE or "url" in options:
        return kind.open(options, student, folder)
    from rsft.cluster.hire import hire

    return hire(cluster, kind, options, student, folder)


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
    for writer in writers:
        if not writer.engine.tells_tokens and writer.tokenizer is None:
            raise RecipeError(
                f"budget.max_tokens is {recipe.budget.max_tokens}, and one that writes tells texts only, whose tokens "
                "can't be counted here: there is no tokenizer of its own, nor of the recipe's model. Bound the "
                "candidates (budget.max_candidates), or the cost (engine.max_cost)."
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
        written = open_engine(options, None, folder, recipe.cluster)
        return Writer(written, written.base, share, (lambda: student.chat) if student.is_here else None)
    references = as_list(options.pop("model", None))
    if not references:
        kind = options["type"]
        raise RecipeError(f"sampling.generators: {{type: {kind}}} needs a model; the run's own is called policy.")
    other = Student(tuple(references), recipe.dtype, recipe.trust_remote_code)
    written = open_engine(options, other, folder, recipe.cluster)
    return Writer(written, written.base, share, None if other.reads_like(student) else lambda: student.chat)


def check_engines(recipe: Recipe) -> None:
    """Raise RecipeError for an engine, or one that writes beside it, that is not there or doesn't take its options."""
    for spec in (recipe.engine, *(recipe.sampling.generators or ())):
        name, options = _named(spec)
        if spec is not recipe.engine:
            options.pop("share", None)
            if name in ("local", "vllm"):
                options.pop("model", None)
        if name != "policy":
            engine_kind(name).serves(options)


def refuse_unserved(recipe: Recipe, trainer: Trainer) -> None:
    """Raise RecipeError where the engine can't sample from what the trainer trains."""
    name, options = _named(recipe.engine)
    engine = engine_kind(name)
    if trainer.trains is None or trainer.trains in engine.serves(options):
        return
    where = {
        "adapter": "adapters on this machine",
        "weights": "whole weights on this machine",
        "hosted": "policies at a host, which serves them by name",
    }
    way_out = _WAYS_OUT[trainer.trains] if name in registry.ENGINES else _OF_ONES_OWN.format(name=name)
    raise RecipeError(
        f"The recipe can't be used: training by '{recipe.training.type}' makes {where[trainer.trains]}, and the engine "
        f"'{name}', as it stands here, can't sample from these. {way_out}"
    )


def _named(spec: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A plug-in's name and options."""
    if isinstance(spec, str):
        return spec, {}
    options = dict(spec)
    name = options.pop("type", None)
    if not isinstance(name, str):
        raise RecipeError(f"An engine's mapping needs a 'type'; found {dict(spec)}.")
    return name, options


def trainer_of(recipe: Recipe) -> Trainer:
    kind = registry.load("trainer", recipe.training.type)
    try:
        trainer: Trainer = kind.model_validate(recipe.training.options)
    except ValidationError as error:
        name = f"training by '{recipe.training.type}'"
        lines = "\n".join(f"  - {line}" for line in mistakes(error, kind, name, prefix="training"))
        raise RecipeError(f"The recipe can't be used:\n{lines}") from None
    return trainer
