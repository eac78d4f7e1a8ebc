"""What scores replies. A scorer's one method is `score(replies)`; one file each."""

from rsft.scorers.base import Scorer, run_scorer
from rsft.scorers.build import build_scorers

__all__ = ["Scorer", "build_scorers", "run_scorer"]
