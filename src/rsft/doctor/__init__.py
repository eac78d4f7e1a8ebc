"""Whether rsft can work here: what is installed, the machine, and the servers that a recipe names."""

from rsft.doctor.check import Check
from rsft.doctor.examine import examine

__all__ = ["Check", "examine"]
