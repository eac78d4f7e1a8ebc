"""The run folder: immutable segments, and the ledger that says which of them exist."""

from rsft.store.policies import round_name
from rsft.store.rows import ScoreRow
from rsft.store.run_folder import ARMS, RunFolder

__all__ = ["ARMS", "RunFolder", "ScoreRow", "round_name"]
