"""Where code that a model wrote runs: in bubblewrap, or in the container that rsft itself is in."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from rsft.errors import RecipeError
from rsft.scorers.processes import code_harness

Kind = Literal["bubblewrap", "container"]

_HARNESS = code_harness.__file__
_PYTHON: str = getattr(sys, "_base_executable", "") or sys.executable
_PREFIX = sys.base_prefix
# A program needs no more; more of them must fit beside a model.
_PROCESSES = 32
_FILE_SIZE = 16 * 2**20
_DISK = 64 * 2**20
# For the sandbox itself to start and to end, however busy the machine is.
_AROUND_SECONDS = 20.0
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
# Nothing but the standard library: what is installed beside rsft is none of the program's business.
_FLAGS = ("-S", "-s", "-B", "-P")
# Where memory runs out, the system ends programs before it ends a training.
_FIRST_TO_GO = ("/bin/sh", "-c", 'echo 1000 2>/dev/null >/proc/self/oom_score_adj; exec "$@"', "sh")
# Sandboxes that run side by side must not share one: each ends whatever its user runs.
_FIRST_USER, _MOST_USERS = 40_000, 20_000
_USED = itertools.count(secrets.randbelow(_MOST_USERS))
_SIGNS_OF_A_CONTAINER = ("/.dockerenv", "/run/.containerenv")
_INSTEAD = (
    "Code that a model wrote runs nowhere else. Install bubblewrap (apt install bubblewrap) where it may make "
    "namespaces; or run rsft as a whole in a container that holds nothing you would miss, and say so with "
    "sandbox: container."
)


class Broken(Exception):
    """The sandbox, and not the program in it, did not do what it should."""


def check(kind: Kind) -> None:
    """Raises RecipeError if programs can't be run so here."""
    if problem := why_not(kind):
        raise RecipeError(f"The scorer 'code_tests' can't work here: {problem}. {_INSTEAD}")


@cache
def why_not(kind: Kind) -> str:
    """Why programs can't be run so here, an empty text if they can. Found out once."""
    if kind == "bubblewrap" and shutil.which("bwrap") is None:
        return "bubblewrap is not installed (there is no program 'bwrap')"
    if kind == "container":
        if not (any(map(os.path.exists, _SIGNS_OF_A_CONTAINER)) or os.environ.get("container")):  # noqa: SIM112
            return "sandbox: container was said, and this is no container"
        if os.geteuid() == 0 and not _others_can_read(Path(_PREFIX)):
            return f"rsft runs as root, and no other user, as which the code would run, can read Python in {_PREFIX}"
    try:
        # A module that is not loaded yet, to see that Python is whole in there.
        (error,) = run_tests(kind, "import fractions", ["assert fractions.Fraction(1, 2) == 0.5"], 20.0, 2**30)
    except (Broken, OSError) as broken:
        return f"no program can be run in the sandbox '{kind}' ({broken})"
    return f"a program that is right fails in the sandbox '{kind}' ({error})" if error else ""


def _others_can_read(folder: Path) -> bool:
    return all(part.stat().st_mode & 0o005 == 0o005 for part in (folder, *folder.parents))


def run_tests(kind: Kind, program: str, tests: Sequence[str], seconds: float, memory: int) -> list[str | None]:
    """What is wrong with the program by each test, None where it passes. See code_harness.py for what it can't do.

    The tests have `seconds` of wall-clock time together, each an even share of what is left; every process has `memory`
    bytes of address space. Raises Broken.
    """
    request = {"program": program, "tests": len(tests), "seconds": seconds, "memory": memory}
    uid = _uid()
    request |= {"file_size": _FILE_SIZE, "processes": _PROCESSES, "uid": uid}
    request["alone"] = kind == "bubblewrap" or uid is not None  # it may kill whatever it can
    messages = [json.dumps(request).encode(), *(test.encode("utf-8", "surrogatepass") for test in tests)]
    stdin = b"".join(len(message).to_bytes(4, "big") + message for message in messages)
    if kind == "bubblewrap":
        outcome = _run(_command(kind), stdin, "/", seconds + _AROUND_SECONDS)
    else:
        with tempfile.TemporaryDirectory(prefix="rsft-", ignore_cleanup_errors=True) as folder:
            os.chmod(folder, 0o1777)
            outcome = _run(_command(kind), stdin, folder, seconds + _AROUND_SECONDS)
    code, stdout, stderr = outcome
    said: list[str | None] = [json.loads(line) for line in stdout.splitlines() if line]
    if code is None:
        return said + ["took too long"] * (len(tests) - len(said))
    if len(said) != len(tests):
        raise Broken(f"exit code {code}" + "".join(f": {line}" for line in stderr.strip().splitlines()[-1:]))
    return said


def _run(command: Sequence[str], stdin: bytes, folder: str, seconds: float) -> tuple[int | None, str, str]:
    """Exit code (None: killed after so many seconds), stdout and stderr, into which only the harness writes."""
    process = subprocess.Popen(
        [*_FIRST_TO_GO, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**_ENVIRONMENT, "HOME": folder},
        cwd=folder,
        start_new_session=True,
    )
    with process:
        try:
            stdout, stderr = process.communicate(stdin, timeout=seconds)
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            code = None
        except BaseException:
            process.kill()
            raise
    return code, stdout.decode(errors="replace"), stderr.decode(errors="replace")


def _uid() -> int | None:
    """A user for the program alone, where rsft is root: no limit on processes holds for root."""
    return _FIRST_USER + next(_USED) % _MOST_USERS if os.geteuid() == 0 else None


def _command(kind: Kind) -> list[str]:
    if kind == "container":
        return [_PYTHON, *_FLAGS, _HARNESS]
    # Root's harness becomes another user, whom a namespace of users of its own would not know.
    apart = ["--unshare-all"]
    if os.geteuid() == 0:
        apart = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        apart += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        apart += ["--cap-drop", "ALL"]
    command = [shutil.which("bwrap") or "bwrap", *apart, "--die-with-parent", "--new-session", "--clearenv"]
    for name, value in {**_ENVIRONMENT, "HOME": "/tmp"}.items():
        command += ["--setenv", name, value]
    command += ["--ro-bind", "/usr", "/usr", "--perms", "0755", "--dir", "/etc"]
    command += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    for folder in ("/bin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(folder):
            command += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            command += ["--ro-bind", folder, folder]
    if not Path(_PREFIX).is_relative_to("/usr"):
        for parent in reversed(Path(_PREFIX).parents[:-1]):
            command += ["--perms", "0755", "--dir", str(parent)]
        command += ["--ro-bind", _PREFIX, _PREFIX]
    command += ["--dev", "/dev"]
    for folder in ("/dev/shm", "/tmp"):
        command += ["--perms", "1777", "--size", str(_DISK), "--tmpfs", folder]
    command += ["--ro-bind", _HARNESS, "/harness.py", "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    return [*command, _PYTHON, *_FLAGS, "/harness.py"]
