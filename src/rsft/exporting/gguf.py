"""GGUF, by the converter of llama.cpp: it knows the architectures, and changes with them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from rsft.errors import ModelError

# The script as llama.cpp's builds and packages install it, and as its Python package calls it.
_NAMES = ("convert_hf_to_gguf.py", "llama-convert-hf-to-gguf", "convert-hf-to-gguf")
# Where Debian's package llama.cpp-tools puts it.
_PLACES = (Path("/usr/share/doc/llama.cpp-tools/scripts") / _NAMES[0],)
_LAST_LINES = 15
_MISSING = re.compile(r"^ModuleNotFoundError: No module named '([\w.]+)'", re.M)


def converter(named: Path | None) -> list[str]:
    """The command that converts: the script that was named, or the one on the path. Raises ModelError without one."""
    if named is not None:
        script = named / _NAMES[0] if named.is_dir() else named
        if not script.is_file():
            raise ModelError(f"--converter {named}: there is no {script}.")
        return _command(script)
    found = next((where for name in _NAMES if (where := shutil.which(name))), None)
    if found is not None:
        return [found]
    placed = next((where for where in _PLACES if where.is_file()), None)
    if placed is None:
        raise ModelError(
            "GGUF is written by llama.cpp's converter, and none is on the path (convert_hf_to_gguf.py; the pip package "
            "gguf has none). Install llama.cpp (brew install llama.cpp, apt install llama.cpp), or fetch its source "
            "(git clone https://github.com/ggml-org/llama.cpp) and name it: --converter "
            "llama.cpp/convert_hf_to_gguf.py."
        )
    return _command(placed)


def _command(script: Path) -> list[str]:
    script = script.absolute()
    return [sys.executable, str(script)] if script.suffix == ".py" else [str(script)]


def _python(command: list[str]) -> str:
    return f"the environment of {sys.executable}" if command[0] == sys.executable else "the converter's environment"


def convert(command: list[str], model: Path, file: Path) -> None:
    """Convert a model's folder into a file, in the model's own precision. Raises ModelError where that fails."""
    words = [*command, str(model), "--outfile", str(file), "--outtype", "auto"]
    # It needs no account of anybody.
    environment = {name: value for name, value in os.environ.items() if not name.endswith(("_TOKEN", "_KEY"))}
    try:
        done = subprocess.run(
            words,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise ModelError(
            f"The converter {command[-1]} can't be started: {error.strerror}. Name a script of Python (*.py), or a "
            "program (chmod +x makes one of a file)."
        ) from None
    if done.returncode or not file.is_file():
        last = "\n".join(done.stdout.strip().splitlines()[-_LAST_LINES:])
        missing = _MISSING.search(last)
        remedy = f"\nIt needs the package {missing[1]}, in {_python(command)}." if missing else ""
        raise ModelError(f"The converter {command[-1]} failed (exit code {done.returncode}):\n{last}{remedy}")
