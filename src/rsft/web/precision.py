"""How precise moved lines are, by the labels that there are: with the bound of `rsft calibrate`, and with one that
holds wherever the line is put."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.calibrating import certified, labelled
from rsft.calibration import Certificate, LinesBound, Refusal, error_bound
from rsft.labelling import Frame
from rsft.selection.pool import Mask, Values
from rsft.store import RunFolder
from rsft.stored import StoredPool
from rsft.types import Label

MAX_ERROR, CONFIDENCE = 0.1, 0.9
"""The promise that `rsft calibrate` makes unless another one is asked for."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the labels tell, wherever lines are: of which scorer's draw they are, and what they certify."""

    scorer: str
    frame: Frame
    losses_F: Values
    certificate: Certificate | Refusal
    lines: LinesBound


class Precision:
    """Of one iteration's replies, by its calibration labels: those of the scorer of whose draw most are, as the run's
    own rules leave it (`Frame`). Whatever is accepted by rules that know no label is a part of that draw fixed in
    advance, so the labels in it are a random draw from it, too."""

    def __init__(
        self, folder: RunFolder, iteration: int, scorers: Sequence[str], frame: Callable[[str], Frame]
    ) -> None:
        self._folder, self._iteration, self._scorers, self._frame = folder, iteration, scorers, frame
        self._labels: list[Label] = []
        self._known: _Known | None = None

    def counting(self) -> Counting:
        """Counts what some rules accept, part by part, and then tells how precise that is."""
        return Counting(self._read())

    def _read(self) -> _Known | None:
        """What the labels tell now: they may be added while lines are moved."""
        labels = [label for label in self._folder.labels(iteration=self._iteration) if label.purpose == "calibration"]
        if labels != self._labels:
            self._labels, self._known = labels, self._learn() if labels else None
        return self._known

    def _learn(self) -> _Known | None:
        losses = {name: labelled(self._folder, self._frame(name)) for name in self._scorers}
        counts = {name: np.count_nonzero(~np.isnan(losses_F)) for name, losses_F in losses.items()}
        scorer = max(counts, key=lambda name: counts[name], default="")
        if not counts.get(scorer):
            return None
        frame, losses_F = self._frame(scorer), losses[scorer]
        scores_F, known_F = frame.scores, ~np.isnan(losses_F)
        promise = {"max_error": MAX_ERROR, "confidence": CONFIDENCE}
        lines = LinesBound.of(scores_F[known_F], losses_F[known_F], scores_F, **promise)
        return _Known(scorer, frame, losses_F, certified(frame, losses_F, **promise), lines)


class Counting:
    """What some rules accept of the replies."""

    def __init__(self, known: _Known | None) -> None:
        self._known = known
        self._passing_F: Mask = np.zeros(0 if known is None else len(known.losses_F), dtype=np.bool_)
        self._accepted, self._spoken_for = 0, 0

    def add(self, part: StoredPool, accepted_N: Mask) -> None:
        """Of a part those that are accepted."""
        if self._known is None:
            return
        own, places = part.among(self._known.frame.places)
        self._passing_F[own] = accepted_N[places]
        self._accepted += int(np.count_nonzero(accepted_N))
        self._spoken_for += int(np.count_nonzero(accepted_N & self._known.frame.left(part)))

    def told(self, *, blind: bool = True) -> dict[str, Any] | None:
        """The share of good ones among the accepted replies that are labelled, and how many of all accepted ones in the
        draw are good at least. None without labels. `blind` tells that no rule goes by labels, as certified ones do.

        `alone` is the bound for lines that were fixed before anybody looked at the labels, None if a rule did;
        `anywhere` that for any line on the scorer, None where what is accepted of the draw is not all that is over one
        line. `certified` is the threshold of `rsft calibrate`, or None, with the `refusal`. `spoken_for` is the share
        of the accepted replies that could have been drawn: of the others the labels tell nothing.
        """
        known, passing_F = self._known, self._passing_F
        if known is None:
            return None
        over = known.losses_F[passing_F & ~np.isnan(known.losses_F)]
        said = known.certificate
        return {
            "scorer": known.scorer,
            "labels": int(np.count_nonzero(~np.isnan(known.losses_F))),
            "labelled": len(over),
            "bad": float(over.sum()),
            "share": float(1 - over.mean()) if len(over) else None,
            "alone": 1 - error_bound(over, CONFIDENCE) if blind else None,
            "anywhere": known.lines.precision(int(passing_F.sum())) if _over_one_line(known, passing_F) else None,
            "confidence": CONFIDENCE,
            "max_error": MAX_ERROR,
            "certified": said.threshold if isinstance(said, Certificate) else None,
            "refusal": said.reason if isinstance(said, Refusal) else None,
            "labels_wanted": said.labels_wanted if isinstance(said, Refusal) else None,
            "spoken_for": self._spoken_for / self._accepted if self._accepted else 1.0,
        }


def _over_one_line(known: _Known, passing_F: Mask) -> bool:
    """Whether what is accepted of the draw is all that has at least some score."""
    scores_F = known.frame.scores
    if not passing_F.any():
        return True
    least = scores_F[passing_F].min()  # NaN, which no line is under, where a failed one is accepted
    return bool(np.array_equal(scores_F >= least, passing_F))
