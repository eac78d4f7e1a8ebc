"""Pure rules that turn scores into decisions."""

from rsft.selection.control import all_whole, random_selection
from rsft.selection.parse import parse_selection
from rsft.selection.pool import Pool
from rsft.selection.rule import Rule
from rsft.selection.selection import Decided, Selection

__all__ = ["Decided", "Pool", "Rule", "Selection", "all_whole", "parse_selection", "random_selection"]
