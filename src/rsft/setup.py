"""From a recipe to the working parts of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from rsft.budget import build_budget
from rsft.config import Recipe, recipe_yaml
from rsft.config.cluster import ClusterSection
from rsft.config.load import bundled_path
from rsft.config.schedule import at_iteration
from rsft.engines.base import Engine
from rsft.engines.writers import Writers
from rsft.errors import PromptError, RecipeError, RunError, nearest
from rsft.models.student import Student
from rsft.participants import LOGS, check_engines, open_engine, open_writers, refuse_unserved, student_of, trainer_of
from rsft.prompts import Column, check_disjoint, load_prompts
from rsft.saved import refuse_other_recipe, saved_recipe
from rsft.scorers import Combined, Scorer, build_scorers, to_standardise
from rsft.selection import Selection, parse_selection
from rsft.selection.better import BetterThan
from rsft.servers import SPENDING
from rsft.store import RunFolder
from rsft.store.places import check_url
from rsft.store.writing import Writer
from rsft.tracking import check_trackers
from rsft.training.base import Trainer
from rsft.types import Policy, Prompt


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


@runtime_checkable
class Dismissible(Protocol):
    """An engine or a scorer that works on a cluster, and can be sent away from there for a while."""

    def dismiss(self) -> None:
        """Leave to others what they hold of it, until there is work again."""
        ...


@dataclass(frozen=True, slots=True)
class Parts(Checked):
    """The working parts of a run. `engine` samples from the policies, `student` is what they are trained from, and
    `writers` write the candidates of train prompts."""

    engine: Engine
    student: Student
    writers: Writers
    on_cluster: bool

    def release(self) -> None:
        """A policy will be trained now: have all engines leave it the device, and, where it is trained on the cluster,
        all that work there leave it their machines."""
        for engine in self._engines:
            engine.release()
        if any(getattr(one.trainer, "nodes", None) for one in self.terms):
            for one in (*self._engines, *self.scorers.values(), *self.heldout_scorers.values()):
                if isinstance(one, Dismissible):
                    one.dismiss()

    def close(self) -> None:
        """Nothing will be sampled any more, by anybody."""
        with ExitStack() as ending:
            if self.on_cluster:
                from rsft.machines.connection import disconnect

                ending.callback(disconnect)
            for engine in self._engines:
                ending.callback(engine.close)
            for scorer in (*self.scorers.values(), *self.heldout_scorers.values()):
                ending.callback(scorer.close)

    @property
    def _engines(self) -> list[Engine]:
        return [self.engine, *(engine for engine in self.writers.engines if engine is not self.engine)]


def check(recipe: Recipe) -> Checked:
    """Build what the recipe names and read its prompts. Raises a UserError for whatever can't be."""
    check_trackers(recipe)
    check_store(recipe)
    check_engines(recipe)
    scorers, heldout_scorers, terms, selection = _plug_ins(recipe)
    train, heldout, anchors = read_prompts(recipe)
    return Checked(train, heldout, anchors, scorers, heldout_scorers, terms, selection)


def set_up(recipe: Recipe, folder: RunFolder) -> Parts:
    """The parts of the run in `folder`: made for a new run; for one that was begun, after checking that it is the same.

    A new run's folder keeps nothing until all parts could be made: a mistake can be mended and the run begun again.
    Raises RunError with the keys that differ if the folder holds a run of another recipe or of another base model.
    """
    check_trackers(recipe)
    check_store(recipe)
    begun = (folder.path / "recipe.yaml").is_file()
    if begun:
        refuse_other_recipe(recipe, folder.path)
    scorers, heldout_scorers, terms, selection = _plug_ins(recipe)
    with ExitStack() as on_mistakes:
        if recipe.cluster is not None:
            on_mistakes.callback(_connected(recipe.cluster))
        for one in terms:
            one.trainer.check_machine()
        if not begun:
            folder.keep_segments_at(recipe.store.segments)
        if recipe.cluster is not None:
            folder.written_by(_writer(folder))
        kept = tuple(folder.load_prompts(split) for split in ("train", "heldout", "anchor"))
        there = begun and bool(kept[0])  # they are not if they got damaged
        train, heldout, anchors = kept if there else read_prompts(recipe)
        student = student_of(recipe)
        SPENDING.keep_in(folder.path / "spending.json")
        if recipe.cluster is not None:
            scorers, heldout_scorers = _on_cluster(recipe, recipe.cluster, scorers, heldout_scorers)
        for scorer in (*scorers.values(), *heldout_scorers.values()):
            on_mistakes.callback(scorer.close)
        engine = open_engine(recipe.engine, student, folder.path / LOGS, recipe.cluster)
        on_mistakes.callback(engine.close)
        writers = open_writers(recipe, engine, student, folder.path / LOGS)
        checked = (train, heldout, anchors, scorers, heldout_scorers, terms, selection)
        parts = Parts(*checked, engine, student, writers, recipe.cluster is not None)
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


def _connected(cluster: ClusterSection) -> Callable[[], None]:
    """Connect to the cluster; gives what ends that. Raises RunError where there is none."""
    from rsft.machines.connection import connect, disconnect

    connect(cluster.ray)
    return disconnect


def _writer(folder: RunFolder) -> Writer:
    """Who writes segments where there is a cluster."""
    from rsft.cluster.writing import RayWriter

    return RayWriter(folder.path)


def check_store(recipe: Recipe) -> None:
    """Raise RecipeError where nothing here can keep segments where the recipe wants them. Nobody is asked."""
    if recipe.store.segments is not None:
        check_url(recipe.store.segments)


def read_prompts(recipe: Recipe) -> tuple[list[Prompt], list[Prompt], list[Prompt]]:
    """The recipe's train and held-out prompts and its anchors, from their files."""
    said = recipe.prompts
    columns = {word: Column(one.column, one.behind) for word, one in said.columns.items()}

    def read(sources: list[str], limit: int | None) -> list[Prompt]:
        files = [bundled_path(source) for source in sources]
        return load_prompts(files, template=said.template, system=said.system, columns=columns, limit=limit)

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


def _on_cluster(
    recipe: Recipe, cluster: ClusterSection, scorers: Mapping[str, Scorer], heldout: Mapping[str, Scorer]
) -> tuple[dict[str, Scorer], dict[str, Scorer]]:
    """The scorers, of which some work on the cluster's machines."""
    from rsft.cluster.dashboard import run_name
    from rsft.cluster.panel import on_cluster

    watches = recipe.budget.speculative.by if recipe.budget.speculative else None
    most, run = recipe.scoring.max_seconds, run_name(Path(recipe.run))
    return on_cluster(scorers, cluster, run, most, watches), on_cluster(heldout, cluster, run, most)


def _check_cluster(cluster: ClusterSection, scorers: Mapping[str, Scorer]) -> None:
    """Raise RecipeError for a scorer in the cluster's section that is not there, or has nothing to do elsewhere."""
    for name in cluster.scorers:
        if name not in scorers:
            raise RecipeError(f"cluster.scorers: there is no scorer '{name}'.{nearest(name, scorers)}")
        if scorers[name].quick or isinstance(scorers[name], Combined):
            raise RecipeError(f"cluster.scorers: '{name}' answers at once, in the run's process: leave it out.")


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
    heldout_scorers = _heldout_scorers(recipe)
    if recipe.cluster is not None:
        _check_cluster(recipe.cluster, scorers | heldout_scorers)
    return scorers, heldout_scorers, terms, measuring


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
    trainer = trainer_of(recipe)
    refuse_unserved(recipe, trainer)
    if getattr(trainer, "nodes", None) and recipe.cluster is None:
        raise RecipeError("training.nodes trains on a Ray cluster: say which (cluster: auto, or rsft run --ray).")
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
            f"The run in {folder.path} began with a base model of hash {known}; the recipe's model (without one, its "
            f"engine) has {base.hash}. Bring the first one back, or start another run (--set run=...)."
        )
