"""What scores replies. A scorer's one method is `score(replies)`; one file each."""

from rsft.scorers.base import Baseline, Scorer
from rsft.scorers.beside import compare, with_baseline
from rsft.scorers.build import build_scorers
from rsft.scorers.combined import Combined, Standard
from rsft.scorers.run import BATCH, run_in_batches, run_scorer, score_all
from rsft.scorers.standards import measure, to_standardise, with_standards, without_standards

__all__ = [
    "BATCH",
    "Baseline",
    "Combined",
    "Scorer",
    "Standard",
    "build_scorers",
    "compare",
    "measure",
    "run_in_batches",
    "run_scorer",
    "score_all",
    "to_standardise",
    "with_baseline",
    "with_standards",
    "without_standards",
]
