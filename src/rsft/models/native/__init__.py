"""What is quicker in C than in torch, for CPUs: compiled on the machine where it runs, for that machine.

Compiling takes some tenths of a second and happens once: what comes of it is kept beside the converted models. Where
there is no compiler, or it can't do this, torch does the same, and a warning says so.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from rsft.models.references import cache_folder

_SOURCES = Path(__file__).parent
# Not -ffast-math: it would change how the whole process rounds, and NaNs have to stay what they are.
_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fno-strict-aliasing", "-fopenmp")
_NUMBERS = {"bfloat16": "BF16", "float16": "FP16", "float32": "FP32"}


@cache
def library(source: str, dtype: str, **sizes: int) -> ctypes.CDLL | None:
    """The compiled `source` for one kind of numbers, with constants of these sizes; None where there is none."""
    if dtype not in _NUMBERS:
        return None
    defines = [f"-DNUMBER_{_NUMBERS[dtype]}", *(f"-D{name}={size}" for name, size in sizes.items())]
    try:
        return ctypes.CDLL(str(_compiled(source, defines)))
    except (OSError, subprocess.SubprocessError) as error:
        _warn(error)
        return None


@cache
def compiler() -> tuple[str, str]:
    """Where the C compiler is, and what it says of itself."""
    path = shutil.which(os.environ.get("CC", "cc"))
    if path is None:
        raise FileNotFoundError("there is no C compiler, as `cc` or as $CC says")
    return path, subprocess.run([path, "--version"], check=True, capture_output=True, text=True).stdout


def _compiled(source: str, defines: list[str]) -> Path:
    """The library, compiled if it is not in the cache yet. Raises OSError or SubprocessError."""
    path, version = compiler()
    texts = [(_SOURCES / name).read_text(encoding="utf-8") for name in (source, "lanes.h")]
    digest = hashlib.sha256("\0".join((*texts, version, _processor(), *_FLAGS, *defines)).encode()).hexdigest()[:16]
    made = cache_folder() / "native" / f"{Path(source).stem}-{digest}.so"
    if made.exists():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made.parent) as folder:
        aside = Path(folder) / made.name
        command = [path, *_FLAGS, *defines, "-shared", "-fPIC", str(_SOURCES / source), "-o", str(aside), "-lm"]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        aside.replace(made)
    return made


def _processor() -> str:
    """What tells this processor's instructions from another's: machines may share a cache."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(
        sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    )


@cache
def _warn_once(why: str) -> None:
    logging.getLogger("rsft").warning(
        "Sampling and training on this CPU go on without compiled parts, and take up to 2.6 times as long: %s. "
        "A C compiler with OpenMP helps (on Debian or Ubuntu: apt install gcc).",
        why,
    )


def _warn(error: Exception) -> None:
    said = str(getattr(error, "stderr", None) or error).strip().splitlines()
    _warn_once(said[0] if said else type(error).__name__)
