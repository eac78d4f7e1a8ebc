"""What an appraisal found, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_GOOD, _BAD = "#0072b2", "#d55e00"


def plot(said: Mapping[str, Any], file: Path) -> None:
    """Write an SVG: each scorer's AUC in each trial with its interval, and how it scores good and bad replies."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names, trials = list(said["scorers"]), list(said["scores"])
    rows = 1 + len(names)
    heights = [0.9 + 0.45 * len(names), *[1.7] * len(names)]
    with mpl.rc_context({"font.size": 9, "svg.fonttype": "none"}):
        figure = Figure(figsize=(3.2 * max(2, len(trials)), sum(heights)), layout="constrained")
        grid = figure.add_gridspec(rows, len(trials), height_ratios=heights)
        _areas(figure.add_subplot(grid[0, :]), said, names, trials)
        for row, name in enumerate(names, 1):
            for column, trial in enumerate(trials):
                _sides(figure.add_subplot(grid[row, column]), said["scores"][trial][name], name, trial, column == 0)
        figure.savefig(file, format="svg", metadata={"Date": None})


def _areas(axes: Any, said: Mapping[str, Any], names: list[str], trials: list[str]) -> None:
    for number, trial in enumerate(trials):
        shift = 0.6 * ((number + 0.5) / len(trials) - 0.5)
        for place, name in enumerate(names):
            area = said["scorers"][name]["trials"][trial]["auc"]
            colour = _COLOURS[number % len(_COLOURS)]
            axes.plot([area["low"], area["high"]], [place + shift] * 2, color=colour, linewidth=1.5)
            label = trial.replace("_", " ") if place == 0 else None
            axes.plot(area["value"], place + shift, "o", color=colour, markersize=4, label=label)
    axes.axvline(0.5, color="#999999", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("AUC with its 95% interval: 1 is always right, 0.5 is chance")
    axes.legend(loc="lower left", fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _sides(axes: Any, sides: Mapping[str, Any], name: str, trial: str, is_first: bool) -> None:
    good, bad = ([value for value in sides[side] if value is not None] for side in ("good", "bad"))
    if good or bad:
        low, high = min(good + bad), max(good + bad)
        bounds = (low, high) if high > low else (low - 0.5, high + 0.5)
        axes.hist(bad, bins=24, range=bounds, color=_BAD, alpha=0.6, label="bad")
        axes.hist(good, bins=24, range=bounds, color=_GOOD, alpha=0.6, label="good")
        axes.legend(fontsize=7, frameon=False)
    axes.set_title(trial.replace("_", " "), fontsize=8)
    axes.set_yticks([])
    if is_first:
        axes.set_ylabel(name)
    axes.spines[["top", "right", "left"]].set_visible(False)
