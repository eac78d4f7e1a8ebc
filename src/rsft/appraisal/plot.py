"""What an appraisal found, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsft.errors import RecipeError

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
# Inches: of a letter of a name, and between two rows.
_LETTER, _GAP = 0.075, 0.55
_GOOD, _BAD = "#0072b2", "#d55e00"


def plot(said: Mapping[str, Any], file: Path) -> None:
    """Write an SVG: each scorer's AUC in each trial with its interval, and how it scores good and bad replies.

    The same appraisal gives the same file. Raises RecipeError where it can't be written.
    """
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "rsft", "font.size": 9, "svg.fonttype": "none"}):
        try:
            drawn(said).savefig(file, format="svg", metadata={"Date": None})
        except OSError as error:
            raise RecipeError(f"The plot can't be written to {file}: {error}") from None


def drawn(said: Mapping[str, Any]) -> Any:
    """The figure. Its places are reckoned in inches: a solver's (matplotlib's layouts) differ now and then."""
    from matplotlib.figure import Figure

    names, trials = list(said["scorers"]), list(said["scores"])
    longest = _LETTER * max(map(len, names), default=0)
    areas, row, left = 0.8 + 0.13 * (1 + len(trials)) * len(names), max(1.3, longest), 0.5 + longest
    width = left + 2.9 * max(2, len(trials)) + 0.2
    height = 0.3 + areas + 0.7 + len(names) * (row + _GAP)
    figure = Figure(figsize=(width, height))

    def place(x: float, top: float, wide: float, high: float) -> Any:
        return figure.add_axes((x / width, 1 - (top + high) / height, wide / width, high / height))

    _areas(place(left, 0.3, width - left - 1.4, areas), said, names, trials)
    wide = (width - left - 0.2) / len(trials)
    for number, name in enumerate(names):
        top = 0.3 + areas + 0.9 + number * (row + _GAP)
        for column, trial in enumerate(trials):
            axes = place(left + column * wide, top, wide - 0.3, row - 0.2)
            _sides(axes, said["scores"][trial][name], name, trial, column == 0)
    return figure


def _areas(axes: Any, said: Mapping[str, Any], names: list[str], trials: list[str]) -> None:
    for number, trial in enumerate(trials):
        shift = 0.6 * ((number + 0.5) / len(trials) - 0.5)
        colour = _COLOURS[number % len(_COLOURS)]
        for place, name in enumerate(names):
            area = said["scorers"][name]["trials"][trial]["auc"]
            if not area["n"]:
                continue
            axes.plot([area["low"], area["high"]], [place + shift] * 2, color=colour, linewidth=1.5)
            axes.plot(area["value"], place + shift, "o", color=colour, markersize=4)
        axes.plot([], [], "o", color=colour, markersize=4, label=trial.replace("_", " "))
    axes.axvline(0.5, color="#999999", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("AUC with its 95% interval: 1 is always right, 0.5 is chance")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _sides(axes: Any, sides: Mapping[str, Any], name: str, trial: str, is_first: bool) -> None:
    good, bad = ([value for value in sides[side] if value is not None] for side in ("good", "bad"))
    if good or bad:
        low, high = min(good + bad), max(good + bad)
        bounds = (low, high) if high > low else (low - 0.5, high + 0.5)
        axes.hist(bad, bins=24, range=bounds, color=_BAD, alpha=0.6, label="bad")
        axes.hist(good, bins=24, range=bounds, color=_GOOD, alpha=0.6, label="good")
        axes.legend(fontsize=7, frameon=False, loc="lower left", bbox_to_anchor=(-0.03, 0.95), ncols=2)
    axes.set_title(trial.replace("_", " "), fontsize=8, loc="right")
    axes.set_yticks([])
    if is_first:
        axes.set_ylabel(name)
    axes.spines[["top", "right", "left"]].set_visible(False)
