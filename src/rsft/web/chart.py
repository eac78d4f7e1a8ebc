"""Held-out acceptance after each iteration, as points in a drawing of 640 × 240."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 16, 14, 34
# Arms stand a little beside each other, so that no interval hides another.
_BESIDE = 7


def chart(base: Mapping[str, Any] | None, curves: Mapping[str, Sequence[Mapping[str, Any] | None]]) -> dict[str, Any]:
    """Where everything stands: `base` (a line across, with its interval), of each of the `curves` its points and the
    line through them, the grid's lines, and the iterations' places. `empty` if nothing was measured."""
    iterations = max(map(len, curves.values()), default=0)
    drawn = [_curve(arm, values, iterations, number) for number, (arm, values) in enumerate(curves.items())]
    drawn = [curve for curve in drawn if curve["points"]]
    return {
        **_frame(),
        "iterations": [{"x": _x(number, iterations), "number": number} for number in range(1, iterations + 1)],
        "base": None if base is None else {**{name: _y(base[name]) for name in ("value", "low", "high")}, "said": base},
        "curves": drawn,
        "empty": base is None and not drawn,
    }


@dataclass(frozen=True, slots=True)
class Curve:
    """The acceptance of an arm of a run by iteration (0: the base). `run` numbers them; a control is drawn fainter."""

    name: str
    run: int
    control: bool
    points: Mapping[int, Mapping[str, Any]]


def chart_of_several(several: Sequence[Curve]) -> dict[str, Any]:
    """The same drawing of the curves of some runs, from the base on. `empty` if nothing was measured."""
    last = max((iteration for curve in several for iteration in curve.points), default=0)
    drawn = [
        {
            "name": curve.name,
            "run": curve.run,
            "control": curve.control,
            **_curve(curve.name, [curve.points.get(n) for n in range(last + 1)], last + 1, number, first=0),
        }
        for number, curve in enumerate(several)
        if curve.points
    ]
    return {
        **_frame(),
        "iterations": [{"x": _x(n + 1, last + 1), "number": n or "base"} for n in range(last + 1)],
        "curves": drawn,
        "empty": not drawn,
    }


def _frame() -> dict[str, Any]:
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": _LEFT,
        "right": WIDTH - _RIGHT,
        "grid": [{"y": _y(share), "share": share} for share in (0, 0.25, 0.5, 0.75, 1)],
    }


def _curve(
    arm: str, values: Sequence[Mapping[str, Any] | None], iterations: int, number: int, first: int = 1
) -> dict[str, Any]:
    """`first` is the iteration of the first value."""
    points = [
        {
            "x": round(_x(iteration - first + 1, iterations) + _BESIDE * number, 1),
            **{name: _y(said[name]) for name in ("value", "low", "high")},
            "iteration": iteration,
            "said": said,
        }
        for iteration, said in enumerate(values, first)
        if said is not None
    ]
    return {"arm": arm, "points": points, "line": " ".join(f"{p['x']:.1f},{p['value']:.1f}" for p in points)}


def _x(iteration: int, iterations: int) -> float:
    return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * (iteration - 0.5) / iterations, 1)


def _y(share: float) -> float:
    return round(_TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - share), 1)
