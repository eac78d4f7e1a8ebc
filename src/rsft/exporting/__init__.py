"""Handing on what a run made: a policy that others load, the rows that it learnt, and cards that say how."""

from __future__ import annotations

from rsft.exporting.export import Push, export
from rsft.exporting.wanted import Wanted

__all__ = ["Push", "Wanted", "export"]
