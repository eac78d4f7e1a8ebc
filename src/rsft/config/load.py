"""From a recipe's name, file and overrides to a Recipe, with errors that name the fix."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rsft.config.lines import line_of, with_line
from rsft.config.mistakes import mistakes
from rsft.config.recipe import Recipe, SamplingSection, TrainingSection
from rsft.config.tracking import TrackingSection
from rsft.errors import RecipeError, nearest

BUNDLED = "bundled:"
"""Marks a data file that comes with rsft, as in `bundled:shop.train.jsonl.gz`."""

# What may change while a run goes on: none of these can change a candidate, a score or a decision that is there. Of
# servers, that is how long, how fast and how dearly they may be asked, and where they are; of trackers, everything.
_PATIENCE = "key_env|timeout_seconds|patience_seconds|attempts|max_cost|price[.](input|output)|price"
_RATES = "concurrency|requests_per_minute|tokens_per_minute|together|environment|keep_while_training|url"
_HARMLESS = re.compile(
    "run|loop[.]iterations|(tracking|cluster)([.].*)?"
    f"|(engine|sampling[.]generators[.][0-9]+|(evaluation[.])?scorers[.][^.]+[.]server)[.]({_PATIENCE}|{_RATES})"
    f"|training[.]({_PATIENCE}|price_per_million|poll_seconds|max_hours)"
)


def load_recipe(name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, or a shipped recipe by its name, apply overrides, and resolve every path.

    An override is `a.b=c`, or a line such as `relevant >= 0.6`, which takes the place of the selection's own.
    A relative path is looked for from the working directory, then beside the recipe. Raises RecipeError.
    """
    file = find_recipe(name)
    said = _read(file)
    for override in overrides:
        _apply(said, override)
    _refuse_lines_beside_a_schedule(said, overrides)
    said.setdefault("run", f"runs/{file.stem}")
    return validate(said, where=str(file), beside=file.parent)


def shipped_recipes() -> list[str]:
    """The names of the recipes that come with rsft."""
    return sorted(Path(str(file)).stem for file in _package("recipes").iterdir() if file.name.endswith(".yaml"))


def find_recipe(name: str | Path) -> Path:
    """The recipe's file. A run folder stands for the recipe that it holds."""
    path = Path(name)
    if path.is_dir() and (path / "recipe.yaml").is_file():
        return path / "recipe.yaml"
    if path.is_file():
        return path
    if str(name) in shipped_recipes():
        return Path(str(_package("recipes") / f"{name}.yaml"))
    near = [str(other) for other in Path().glob("*.y*ml")] + shipped_recipes()
    raise RecipeError(
        f"There is no recipe '{name}'.{nearest(str(name), near)} "
        f"Give a YAML file, or one of the shipped recipes: {', '.join(shipped_recipes())}."
    )


def validate(said: dict[str, Any], *, where: str, beside: Path | None = None) -> Recipe:
    """A Recipe from what was said, or a RecipeError that lists each mistake with its key."""
    try:
        recipe = Recipe.model_validate(said)
    except ValidationError as error:
        lines = "\n".join(f"  - {line}" for line in mistakes(error, Recipe, "a recipe"))
        raise RecipeError(f"The recipe {where} can't be used:\n{lines}") from None
    return _with_paths(recipe, beside)


def recipe_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML: complete, so that it alone is enough to run again."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def recipe_differences(old: Recipe, new: Recipe) -> list[str]:
    """One line for each key whose values differ, harmless keys excepted."""
    return [f"{key}: {' → '.join(values)}" for key, values in differing_keys([old, new]).items()]


def differing_keys(recipes: Sequence[Recipe]) -> dict[str, list[str]]:
    """Each key whose values differ, harmless keys excepted, with what each recipe has there."""
    all_flat = [dict(flat(recipe.model_dump(mode="json"))) for recipe in recipes]
    keys = dict.fromkeys(key for one in all_flat for key in one if not _HARMLESS.fullmatch(key))
    changed = [key for key in keys if any(one.get(key) != all_flat[0].get(key) for one in all_flat)]
    return {key: [_shown(one, key) for one in all_flat] for key in changed}


def _package(folder: str) -> Any:
    return resources.files("rsft") / folder


def _read(file: Path) -> dict[str, Any]:
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RecipeError(f"The recipe {file} is not YAML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"The recipe {file} can't be read: {error}") from None
    if not isinstance(said, dict):
        raise RecipeError(f"The recipe {file} holds {type(said).__name__}, expected keys such as model and prompts.")
    return said


def _apply(said: dict[str, Any], override: str) -> None:
    """Set `a.b=c` in place. `c` is YAML, and so may be a number, a list or a mapping; what is no YAML is a text."""
    if line_of(override):
        _apply_line(said, override.strip())
        return
    key, equals, text = override.partition("=")
    if not equals or not key or set(key) & set("<> "):
        raise RecipeError(
            "--set takes KEY=VALUE, for example --set sampling.candidates=4, or a line of the selection, for example "
            f"--set 'relevant >= 0.6'; found '{override}'."
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text  # a template in braces, say
    *path, last = key.split(".")
    place: Any = said
    for part in path:
        place = place.setdefault(part, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise RecipeError(f"--set {override}: '{part}' is not a section of the recipe.")
    place[last] = value


def _apply_line(said: dict[str, Any], line: str) -> None:
    """Put a line into the selection, in place. What is no selection is told when the recipe is validated."""
    rules = said.get("selection", [])
    if isinstance(rules, list):
        said["selection"] = with_line(rules, line)


def _refuse_lines_beside_a_schedule(said: dict[str, Any], overrides: Sequence[str]) -> None:
    """Raise RecipeError for lines that would not hold, since the schedule has selections of its own."""
    lines = [override for override in overrides if line_of(override)]
    loop = said.get("loop")
    schedule = loop.get("schedule") if isinstance(loop, dict) else None
    if lines and isinstance(schedule, dict) and schedule.get("selection") is not None:
        raise RecipeError(
            f"--set '{lines[0]}': the schedule has selections of its own. Name all rules: for a run "
            "--set 'loop.schedule.selection=[[...], [...]]', for what is drawn already --set 'selection=[...]'."
        )


def _with_paths(recipe: Recipe, beside: Path | None) -> Recipe:
    """The recipe with absolute paths to the files that it names."""
    prompts = recipe.prompts
    found = {
        split: [_locate(source, beside) for source in sources]
        for split, sources in (("train", prompts.train), ("heldout", prompts.heldout))
        if sources
    }
    return recipe.model_copy(
        update={
            "run": str(Path(recipe.run).expanduser().absolute()),
            "model": [_locate(reference, beside) for reference in recipe.model],
            "prompts": prompts.model_copy(update=found),
            "engine": _located_engine(recipe.engine, beside),
            "sampling": _located_sampling(recipe.sampling, beside),
            "scorers": {name: _located_plug_in(spec, beside) for name, spec in recipe.scorers.items()},
            "selection": [_located_plug_in(rule, beside) for rule in recipe.selection],
            "training": _located_training(recipe.training, beside),
            "tracking": _located_tracking(recipe.tracking),
            "evaluation": recipe.evaluation.model_copy(
                update={"scorers": {n: _located_plug_in(spec, beside) for n, spec in recipe.evaluation.scorers.items()}}
            ),
            "loop": recipe.loop.model_copy(
                update={
                    "improve": [_located_plug_in(rule, beside) for rule in recipe.loop.improve],
                    "schedule": {k: _located_values(k, said, beside) for k, said in recipe.loop.schedule.items()},
                }
            ),
        }
    )


def _located_values(key: str, values: list[Any], beside: Path | None) -> list[Any]:
    """What a schedule has for each iteration, with absolute paths in selections."""
    if key != "selection":
        return values
    return [
        [_located_plug_in(rule, beside) for rule in rules] if isinstance(rules, list) else rules for rules in values
    ]


def _located_sampling(sampling: SamplingSection, beside: Path | None) -> SamplingSection:
    """With absolute paths to the models that write candidates."""
    model = sampling.model and [_locate(reference, beside) for reference in sampling.model]
    generators = sampling.generators and [_located_engine(one, beside, writes=True) for one in sampling.generators]
    return sampling.model_copy(update={"model": model, "generators": generators})


def _located_training(training: TrainingSection, beside: Path | None) -> TrainingSection:
    """With absolute paths to anchor rows, and to the file that says how several processes are launched."""
    if training.anchor is not None:
        rows = [_locate(source, beside) for source in training.anchor.rows]
        training = training.model_copy(update={"anchor": training.anchor.model_copy(update={"rows": rows})})
    launch = training.options.get("launch")
    if not isinstance(launch, str) or not Path(launch).suffix:
        return training
    return training.model_copy(update={"launch": _locate(launch, beside)})


def _located_tracking(tracking: TrackingSection) -> TrackingSection:
    """With an absolute path to event files, from the working directory, as the run folder's."""
    said = tracking.tensorboard
    if said is None or said.folder is None:
        return tracking
    folder = str(Path(said.folder).expanduser().absolute())
    return tracking.model_copy(update={"tensorboard": said.model_copy(update={"folder": folder})})


def _locate(source: str, beside: Path | None) -> str:
    """An absolute path where the source is a file or folder that exists, else the source as it was said."""
    if source.startswith(BUNDLED):
        return source
    for folder in (Path(), *([beside] if beside else [])):
        path = (folder / Path(source).expanduser()).absolute()
        if path.exists():
            return str(path)
    return source


def _located_plug_in(spec: str | dict[str, Any], beside: Path | None) -> Any:
    """A plug-in's spec with an absolute path, where it names a file of the user's (`path.py:Name`)."""

    def located(name: str) -> str:
        path, colon, attribute = name.rpartition(":")
        return f"{_locate(path, beside)}:{attribute}" if colon and path.endswith(".py") else name

    if isinstance(spec, str):
        return located(spec)
    if isinstance(spec.get("type"), str):
        return {key: _located_option(key, said, beside) for key, said in spec.items()} | {"type": located(spec["type"])}
    return {located(name): options for name, options in spec.items()}


def _located_engine(spec: str | dict[str, Any], beside: Path | None, *, writes: bool = False) -> Any:
    """An engine's spec with absolute paths. What a server calls its model is no path of ours, whatever lies here."""
    located = _located_plug_in(spec, beside)
    if not isinstance(spec, dict) or "model" not in spec:
        return located
    is_name = spec.get("type") == "openai" or (spec.get("type") == "vllm" and not writes)
    return located | {"model": spec["model"]} if is_name else located


def _located_option(key: str, said: Any, beside: Path | None) -> Any:
    """A plug-in's option, with absolute paths where it names a model's folder or a file."""
    if key not in ("model", "file", "environment"):
        return said
    if isinstance(said, list):
        return [_located_option(key, one, beside) for one in said]
    return _locate(said, beside) if isinstance(said, str) else said


def bundled_path(source: str) -> str:
    """The file behind a `bundled:` source; any other source as it is."""
    if not source.startswith(BUNDLED):
        return source
    file = _package("data") / source.removeprefix(BUNDLED)
    if not file.is_file():
        known = [entry.name for entry in _package("data").iterdir() if entry.name.endswith(".gz")]
        raise RecipeError(f"No data file '{source}' comes with rsft. There are: {', '.join(sorted(known))}.")
    return str(file)


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A recipe's values by their keys, `a.b`."""
    if prefix == "sampling.generators" and isinstance(value, list):
        value = dict(enumerate(value))  # each has options of its own that may change
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _shown(flat: dict[str, Any], key: str) -> str:
    return json.dumps(flat[key], ensure_ascii=False) if key in flat else "(not there)"
