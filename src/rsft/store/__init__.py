"""The run folder: immutable segments, and the ledger that says which of them exist."""

from rsft.store.policies import BASE, policy_name, round_name, round_of
from rsft.store.rows import ScoreRow
from rsft.store.run_folder import ARMS, RunFolder

__all__ = ["ARMS", "BASE", "RunFolder", "ScoreRow", "policy_name", "round_name", "round_of"]
