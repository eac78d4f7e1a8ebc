"""What is installed, and what of it does not fit together."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from rsft.doctor.check import Check
from rsft.surroundings import version_of
from rsft.version import __version__

# Their versions are told; of all others that rsft needs, only what is wrong.
_TOLD = ("torch", "transformers", "peft", "accelerate", "openai", "sentence-transformers", "datasets", "pydantic")
# What breaks rsft if it stands beside it and was made for another version of these, and why. That it was is what its
# own metadata says.
CONFLICTS = {
    "torchvision": (
        ("torch",),
        "transformers imports torchvision wherever it is there, and one that was built for another torch fails at that",
    ),
    "torchaudio": (
        ("torch",),
        "transformers imports torchaudio wherever it is there, and one that was built for another torch fails at that",
    ),
    "vllm": (
        ("torch", "transformers"),
        "vLLM pins torch and transformers: it belongs into a virtual environment of its own, and is asked as a server",
    ),
    "trl": (("transformers", "accelerate"), "the benchmarks train with TRL's SFTTrainer beside rsft's own"),
}


def software() -> Iterator[Check]:
    """Versions, what rsft needs and does not find, and known conflicts."""
    yield Check("software", "rsft", "ok", __version__)
    yield _python()
    needed = [Requirement(line) for line in _needs("rsft")]
    for requirement in needed:
        found = version_of(requirement.name)
        if found is None:
            yield _problem(requirement.name, "not installed", f"pip install '{requirement}'")
        elif not _fits(requirement, found):
            wanted = f"rsft needs {requirement.specifier}: pip install '{requirement}'"
            yield _problem(requirement.name, found, wanted)
        elif requirement.name in _TOLD:
            yield Check("software", requirement.name, "ok", found)
    if not needed:
        yield Check("software", "requirements", "note", "rsft runs without being installed", "pip install .")
    for name, (others, why) in CONFLICTS.items():
        yield from _conflicts(name, others, why)


def _python() -> Check:
    found = platform.python_version()
    try:
        wanted = metadata.metadata("rsft")["Requires-Python"]
    except metadata.PackageNotFoundError:
        wanted = ""
    if wanted and not SpecifierSet(wanted).contains(found, prereleases=True):
        return _problem("python", found, f"rsft needs Python {wanted}")
    return Check("software", "python", "ok", found)


def _conflicts(name: str, others: tuple[str, ...], why: str) -> Iterator[Check]:
    own = version_of(name)
    if own is None:
        return
    for requirement in map(Requirement, _needs(name)):
        found = version_of(requirement.name) if requirement.name in others else None
        if found is not None and not _fits(requirement, found):
            advice = f"{why}. pip uninstall {name}, or install one that fits"
            yield _problem(name, f"{own}, which needs {requirement}, beside {requirement.name} {found}", advice)


def _problem(name: str, found: str, advice: str) -> Check:
    return Check("software", name, "problem", found, advice)


def _fits(requirement: Requirement, version: str) -> bool:
    return requirement.specifier.contains(version, prereleases=True)


def _needs(name: str) -> list[str]:
    """What a package requires here, its extras left out."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    parsed = [(line, Requirement(line).marker) for line in lines]
    return [line for line, marker in parsed if marker is None or marker.evaluate({"extra": ""})]
