"""Which trackers a recipe wants, whether they can be told here, and telling them while a run goes on or afterwards."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rsft.config import Recipe
from rsft.errors import RecipeError
from rsft.progress import Reporter
from rsft.tracking.base import Tracker
from rsft.tracking.teller import LAST_SECONDS, Teller

TRACKERS = {
    "tensorboard": "rsft.tracking.tensorboard:TensorBoardTracker",
    "wandb": "rsft.tracking.wandb:WandbTracker",
    "mlflow": "rsft.tracking.mlflow:MlFlowTracker",
    "trackio": "rsft.tracking.trackio:TrackioTracker",
}
"""By name; the name is that of the library's package, too, and of the extra that installs it."""


def check_trackers(recipe: Recipe) -> None:
    """Raise RecipeError where a tracker that the recipe wants can't be told here, with what to do."""
    for name in recipe.tracking.wanted:
        if not _is_installed(name):
            raise RecipeError(
                f"The recipe wants tracking by '{name}', and its library is not installed. Install it (pip install "
                f"'rsft[{name}]'), or leave it out of `tracking`."
            )
        if problem := _tracker(name).problem():
            raise RecipeError(f"The recipe wants tracking by '{name}', and {problem}; or leave it out of `tracking`.")


@contextmanager
def tracked(recipe: Recipe, tell: Reporter) -> Iterator[None]:
    """While the run goes on, its trackers are told what it commits. However it ends, they are told the rest, and get a
    minute for that. None of them can stop the run."""
    tellers = _tellers(recipe, tell)
    for teller in tellers:
        teller.start()
    try:
        yield
    finally:
        _end(tellers, LAST_SECONDS)


def tell_all(recipe: Recipe, tell: Reporter) -> dict[str, dict[str, Any]]:
    """Tell the recipe's trackers what the run's folder holds and they have not been told yet. Returns by tracker how
    many stages were `told`, and why the rest was not (`failure`)."""
    tellers = _tellers(recipe, tell)
    for teller in tellers:
        teller.start()
    _end(tellers, None)
    return {teller.name: {"told": teller.told, "failure": teller.failure} for teller in tellers}


def _tellers(recipe: Recipe, tell: Reporter) -> list[Teller]:
    return [Teller(name, _tracker(name), options, recipe, tell.say) for name, options in recipe.tracking.wanted.items()]


def _end(tellers: list[Teller], seconds: float | None) -> None:
    """Have them tell what is left, all together in so many seconds; or however long it takes."""
    for teller in tellers:
        teller.end()
    began = time.monotonic()
    for teller in tellers:
        teller.wait(None if seconds is None else max(0.0, began + seconds - time.monotonic()))


def _tracker(name: str) -> type[Tracker]:
    module, _, attribute = TRACKERS[name].partition(":")
    found: type[Tracker] = getattr(importlib.import_module(module), attribute)
    return found


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
