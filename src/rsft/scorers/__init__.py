"""What scores replies. A scorer's one method is `score(replies)`; one file each."""

from rsft.scorers.base import Scorer, build_scorers, run_scorer

__all__ = ["Scorer", "build_scorers", "run_scorer"]
