"""What a run was made with and on: versions and the machine, which can change a number where the recipe does not."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from typing import Any

from rsft.store import RunFolder
from rsft.version import __version__

# What computes, reads models or trains. The others can't change a reply.
_PACKAGES = ("torch", "transformers", "tokenizers", "peft", "accelerate", "sentence-transformers", "numpy", "openai")
_KIND = "surroundings"


def note_surroundings(folder: RunFolder) -> None:
    """Write down in the run's ledger what it goes on with from now, if that is not what it went on with before."""
    now, before = _surroundings(), surroundings_of(folder)
    if not before or before[-1] != now:
        folder.ledger.event(_KIND, now)


def surroundings_of(folder: RunFolder) -> list[dict[str, Any]]:
    """`python`, `packages` (name to version), `machine` and `device` of a run, in the order in which it changed over to
    them; usually one."""
    kept = ("python", "packages", "machine", "device")
    return [{name: said[name] for name in kept} for said in folder.ledger.events() if said["kind"] == _KIND]


def version_of(package: str) -> str | None:
    """The version that is installed; None if it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _surroundings() -> dict[str, Any]:
    versions = {"rsft": __version__, **{name: version_of(name) for name in _PACKAGES}}
    return {
        "python": platform.python_version(),
        "packages": {name: version for name, version in versions.items() if version is not None},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": _device(),
    }


def _device() -> str:
    """The GPUs, or the CPU, by name. A run that loads no torch computes on none of its own."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
    return _cpu()


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"
