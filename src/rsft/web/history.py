"""What runs came to, iteration by iteration: their rows in a table, and their curves in one chart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rsft.reading import summary_of
from rsft.saved import saved_recipe
from rsft.store import ARMS, RunFolder
from rsft.web.chart import Curve, chart_of_several
from rsft.web.overview import STAGES, arms_beside, measured_acceptance, noted


def histories(runs: Mapping[str, Path], title: Callable[[str], str]) -> dict[str, Any]:
    """Of each of the `runs`, by name, its rows; the `scorers` that any row has; and the `chart`. `title` says what a
    run is called on a page."""
    rows = {name: iterations_of(run) for name, run in runs.items()}
    return {
        "runs": [{"name": name, "title": title(name), "rows": rows[name]} for name in runs],
        "scorers": list(dict.fromkeys(score for of in rows.values() for row in of for score in row["scores"])),
        "chart": chart_of_several(
            [
                Curve(title(name) if arm == "policy" else f"{title(name)}, {arm}", number, arm != "policy", points)
                for number, (name, of) in enumerate(rows.items())
                for arm, points in _points(of).items()
            ]
        ),
    }


def iterations_of(run: Path) -> list[dict[str, Any]]:
    """What the base and each iteration came to, by the notes of their stages, which are there before the summary."""
    summary, iterations = summary_of(run), saved_recipe(run).loop.iterations
    gains = {one["iteration"]: one.get("gain_over_control") for one in summary.get("iterations", ())}
    with RunFolder.open(run, write=False) as folder:
        stages = folder.stages()
    done, arms = noted(stages), arms_beside(stages)
    rows = []
    for iteration in range(iterations + 1):
        notes = {stage: note for (at, arm, stage), note in done.items() if (at, arm) == (iteration, "policy")}
        if not notes:
            continue
        sample, select, measured = (notes.get(stage, {}) for stage in ("sample", "select", "evaluate"))
        others = {arm: measured_acceptance(done, iteration, arm) for arm in arms}
        rows.append(
            {
                "iteration": iteration,
                "handed_back": summary.get("handed_back") == iteration,
                "acceptance": measured.get("heldout_acceptance"),
                "others": {arm: said for arm, said in others.items() if said is not None},
                "gain_over_control": gains.get(iteration),
                "accepted": select.get("accepted"),
                "candidates": sample.get("candidates"),
                "tokens": sample.get("tokens"),
                "seconds": sum(notes[stage].get("seconds", 0) for stage in STAGES if stage in notes),
                "scores": {**measured.get("scores", {}), **measured.get("heldout_scores", {})},
                **{name: measured.get(name) for name in ("distinct_2", "self_bleu", "vendi", "mean_words")},
            }
        )
    return rows


def _points(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, Mapping[str, Any]]]:
    """Of the policy and each other arm the acceptance by iteration. The run's own arms set out from the base."""
    found: dict[str, dict[int, Mapping[str, Any]]] = {"policy": {}}
    for row in rows:
        for arm, said in {"policy": row["acceptance"], **row["others"]}.items():
            if said is not None:
                found.setdefault(arm, {})[row["iteration"]] = said
    base = found["policy"].get(0)
    return {arm: {0: base, **of} if base is not None and arm in ARMS else of for arm, of in found.items()}
