"""The run folder: immutable segments, and the ledger that says which of them exist."""

from rsft.store.rows import ScoreRow
from rsft.store.run_folder import RunFolder, round_name

__all__ = ["RunFolder", "ScoreRow", "round_name"]
