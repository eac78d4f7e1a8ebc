"""A first recipe: for a kind of bot, on a file of conversations.

    data ───► columns ────► reading ────► split ────────► recipe ──────────► files
    data.py   columns.py    reading.py    splitting.py    filling.py,        writing.py
                                                          recipes/kinds

draft.py goes the whole way but the last step.

Nothing is asked or printed here, and no model library is loaded.
"""

from __future__ import annotations

from rsft.starting.data import Data, read_data
from rsft.starting.draft import DEFAULT_MODELS, DEFAULT_SHARE, Draft, Wish, draft, kind_of
from rsft.starting.kinds import KINDS, Kind
from rsft.starting.reading import Reading, propose
from rsft.starting.writing import read_again, refuse_name, refuse_taken, write

__all__ = [
    "DEFAULT_MODELS",
    "DEFAULT_SHARE",
    "KINDS",
    "Data",
    "Draft",
    "Kind",
    "Reading",
    "Wish",
    "draft",
    "kind_of",
    "propose",
    "read_again",
    "read_data",
    "refuse_name",
    "refuse_taken",
    "write",
]
