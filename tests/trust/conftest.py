"""The recipe of whole runs as a fixture."""

from runs import recipe

__all__ = ["recipe"]
