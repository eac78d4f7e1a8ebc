"""The report's pictures. Foreign text never gets into one: titles and legends stand beside them, in the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rsft.report.document import Plot
from rsft.report.svg import INK, MARKERS, MUTED, RULE, SERIES, drawn

_WIDE, _HIGH = 380.0, 240.0
# Of more iterations, the first, the last and some between have a row.
_MOST_ROWS = 8


@dataclass(frozen=True, slots=True)
class Point:
    """Where a line is, with the ends of its interval if it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


Lines = Mapping[str, Sequence[Point]]


def over_iterations(name: str, title: str, ticks: Sequence[str], lines: Lines, *, share: bool = False) -> Plot:
    """Lines over the places of `ticks`; of shares from 0 to 1."""

    def draw(figure: Any) -> None:
        axes = _axes(figure)
        _draw_lines(axes, lines, joined=True)
        axes.set_xticks(range(len(ticks)), ticks)
        axes.set_xlim(-0.3, len(ticks) - 0.7)
        axes.set_xlabel("iteration")
        _scale(axes, share)

    alt = _in_words(title, lines, ticks, share)
    return Plot(title, drawn(name, title, alt, _WIDE, _HIGH, draw), _legend(lines))


def against_distance(name: str, title: str, ticks: Sequence[str], line: Sequence[Point], *, share: bool) -> Plot:
    """A path over the distance from the base, each point with the name of its iteration."""

    def draw(figure: Any) -> None:
        axes = _axes(figure)
        _draw_lines(axes, {"": line}, joined=True)
        for tick, point in zip(ticks, line, strict=True):
            axes.annotate(tick, (point.x, point.y), (6, -13), textcoords="offset points", color=INK, fontsize=11.5)
        axes.set_xlabel("√KL from the base, √nats a reply")
        axes.set_xlim(left=-0.03 * max(point.x for point in line) - 0.01)
        _scale(axes, share)

    said = ", ".join(
        f"{tick} at {point.x:.2f}: {_number(point.y, share)}" for tick, point in zip(ticks, line, strict=True)
    )
    return Plot(title, drawn(name, title, f"{title}: {said}.", _WIDE, _HIGH, draw))


def spread(name: str, title: str, histograms: Mapping[int, Mapping[str, Any]]) -> Plot:
    """A row for each iteration: how many candidates have which score, those accepted apart; and rules' lines."""
    iterations = _some(list(histograms))
    edges = [edge for iteration in iterations for edge in histograms[iteration]["edges"]]
    lines = {line for iteration in iterations for line in histograms[iteration]["lines"]}
    low, high = min([*edges, *lines]), max([*edges, *lines])
    margin = 0.03 * (high - low) or 0.5
    tall = 46 + 52 * len(iterations)

    def draw(figure: Any) -> None:
        for row, iteration in enumerate(iterations):
            of = histograms[iteration]
            bottom = 1 - (8 + 52 * (row + 1)) / tall
            axes = figure.add_axes((34 / _WIDE, bottom, 1 - 44 / _WIDE, 44 / tall))
            _bars(axes, of)
            axes.set_xlim(low - margin, high + margin)
            axes.set_ylabel(str(iteration), rotation=0, ha="right", va="center", color=MUTED)
            if iteration != iterations[-1]:
                axes.tick_params(labelbottom=False, length=0)
        figure.axes[-1].set_xlabel("score")

    legend = [*_legend(("accepted", "rejected")), *([("line", "the rule's line")] if lines else [])]
    alt = _spread_in_words(title, histograms, iterations)
    return Plot(title, drawn(name, title, alt, _WIDE, tall, draw), legend)


def stacked(name: str, title: str, ticks: Sequence[str], parts: Mapping[str, Sequence[float]], unit: str) -> Plot:
    """A bar for each tick, of parts one behind the other."""
    tall = 50 + 30 * len(ticks)

    def draw(figure: Any) -> None:
        axes = figure.add_axes((56 / _WIDE, 40 / tall, 1 - 70 / _WIDE, 1 - 46 / tall))
        starts = [0.0] * len(ticks)
        for number, values in enumerate(parts.values()):
            axes.barh(range(len(ticks)), values, left=starts, height=0.6, color=SERIES[number % len(SERIES)])
            starts = [start + value for start, value in zip(starts, values, strict=True)]
        axes.set_yticks(range(len(ticks)), ticks)
        axes.set_ylim(len(ticks) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(unit)

    totals = [sum(values[place] for values in parts.values()) for place in range(len(ticks))]
    said = ", ".join(f"{tick}: {total:,.0f} {unit}" for tick, total in zip(ticks, totals, strict=True))
    return Plot(title, drawn(name, title, f"{title}: {said}.", _WIDE, tall, draw), _legend(parts))


def _legend(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(f"s{1 + number % len(SERIES)}", name) for number, name in enumerate(names)]


def _axes(figure: Any) -> Any:
    axes = figure.add_axes((48 / _WIDE, 42 / _HIGH, 1 - 60 / _WIDE, 1 - 54 / _HIGH))
    axes.spines["left"].set_visible(False)
    return axes


def _draw_lines(axes: Any, lines: Lines, *, joined: bool) -> None:
    for number, line in enumerate(lines.values()):
        colour, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
        shift = 0.05 * number if len(lines) > 1 else 0.0
        xs = [point.x + shift for point in line]
        for x, point in zip(xs, line, strict=True):
            if point.low is not None and point.high is not None:
                axes.plot([x, x], [point.low, point.high], color=colour, linewidth=1.4, alpha=0.65)
        style = {"linestyle": "-" if joined else ""}
        axes.plot(xs, [point.y for point in line], marker, color=colour, linewidth=2, markersize=5.5, **style)


def _scale(axes: Any, share: bool) -> None:
    if share:
        axes.set_ylim(-0.03, 1.03)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
        return
    low, high = axes.get_ylim()
    if high - low < 1e-9:
        axes.set_ylim(low - 0.5, high + 0.5)
    axes.locator_params(axis="y", nbins=5)


def _bars(axes: Any, of: Mapping[str, Any]) -> None:
    edges, counts, accepted = of["edges"], of["counts"], of["accepted"]
    widths = [right - left for left, right in pairwise(edges)]
    rejected = [count - part for count, part in zip(counts, accepted, strict=True)]
    axes.bar(edges[:-1], accepted, widths, align="edge", color=SERIES[0])
    axes.bar(edges[:-1], rejected, widths, bottom=accepted, align="edge", color=SERIES[1])
    for line in of["lines"]:
        axes.axvline(line, color=INK, linewidth=1.3, linestyle=(0, (4, 3)))
    axes.grid(visible=False)
    axes.set_yticks([])
    axes.set_ylim(0, 1.08 * max(counts, default=0) or 1)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_color(RULE)


def _some(iterations: Sequence[int]) -> list[int]:
    """All of them, or so many from the first to the last."""
    if len(iterations) <= _MOST_ROWS:
        return list(iterations)
    last = len(iterations) - 1
    return [iterations[round(place * last / (_MOST_ROWS - 1))] for place in range(_MOST_ROWS)]


def _in_words(title: str, lines: Lines, ticks: Sequence[str], share: bool) -> str:
    said = []
    for name, line in lines.items():
        values = ", ".join(f"{_number(point.y, share)} at {ticks[round(point.x)]}" for point in line)
        said.append(f"{name} {values}")
    return f"{title}: {'; '.join(said)}."


def _spread_in_words(title: str, histograms: Mapping[int, Mapping[str, Any]], iterations: Sequence[int]) -> str:
    said = [
        f"iteration {i}: {sum(histograms[i]['accepted'])} of {sum(histograms[i]['counts'])} accepted, scores from "
        f"{histograms[i]['edges'][0]:.3g} to {histograms[i]['edges'][-1]:.3g}"
        for i in iterations
    ]
    return f"{title}: {'; '.join(said)}."


def _number(value: float, share: bool) -> str:
    return f"{value:.0%}" if share else f"{value:.3g}"
