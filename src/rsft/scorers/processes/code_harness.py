"""Runs tests of a program that is not to be trusted. It is run as a program by `sandbox`, and imports nothing of rsft.

On stdin stand the length and the text of each of: the program with its limits (JSON), then its tests. On stdout comes a
line for each test, JSON: null if it passed, else what went wrong.

This process never runs the program. Each test has a child of its own, which loads the program, is then handed the
test, and, when that ran to its end, a random token, which it must send back. So none of this passes a test: to end the
process (exit, os._exit, a crash), to print, to write to whatever is open, to override builtins (tests have their own),
to look for the tests while the program is loaded.

What lives in one process with a test can't be kept from it for good: a program passes if it reads the token out of its
pipe, searches its callers' frames for what to answer, patches a module that the test imports, or returns objects that
claim to equal anything. Such code is made for that; look at some of what is accepted.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import json
import os
import resource
import secrets
import select
import signal
import sys
import time
import types
from typing import Any

_ERROR = 300
_MOST_SAID = 4096
_prctl = ctypes.CDLL(None).prctl
_PDEATHSIG, _DUMPABLE, _CHILD_SUBREAPER, _NO_NEW_PRIVS = 1, 4, 36, 38


def main() -> None:
    request = json.loads(_receive(0))
    report = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    # `import __main__` shall not lead here.
    sys.modules["__main__"] = types.ModuleType("__main__")
    _confine(request)
    end = time.monotonic() + request["seconds"]
    for left in range(request["tests"], 0, -1):
        seconds = max(0.0, end - time.monotonic()) / left
        error = _run(request["program"], seconds, alone=request["alone"])
        os.write(report, json.dumps(error).encode() + b"\n")


def _confine(request: dict[str, Any]) -> None:
    """Take from this process and its children what they don't need."""
    if request["uid"] is not None:  # the limit on processes is none for root
        os.setgroups([])
        os.setgid(request["uid"])
        os.setuid(request["uid"])
    _prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    _prctl(_DUMPABLE, 0, 0, 0, 0)  # no child may look into this process
    _prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)  # what a child leaves behind becomes a child of this process
    seconds = int(request["seconds"]) + 2
    for limit, most in (
        (resource.RLIMIT_AS, request["memory"]),
        (resource.RLIMIT_FSIZE, request["file_size"]),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        _limit(limit, most, hard=True)
    # Old kernels count all processes of the user, not only those of the sandbox.
    for most in (request["processes"], 1024, 8192):
        _limit(resource.RLIMIT_NPROC, most, hard=False)
        with contextlib.suppress(BlockingIOError):
            if (child := os.fork()) == 0:
                os._exit(0)
            os.waitpid(child, 0)
            _limit(resource.RLIMIT_NPROC, most, hard=True)
            return


def _limit(limit: int, most: int, *, hard: bool) -> None:
    allowed = resource.getrlimit(limit)[1]
    most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
    resource.setrlimit(limit, (most, most if hard else allowed))


def _run(program: str, seconds: float, *, alone: bool) -> str | None:
    """What is wrong with the program by the next test on stdin, None if it passes."""
    (inbox, to_child), (from_child, outbox) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _be_the_child(program, inbox, outbox)
    os.close(inbox)
    os.close(outbox)
    test, token, said = _receive(0), secrets.token_bytes(16), b""
    end = time.monotonic() + seconds
    with contextlib.suppress(TimeoutError, EOFError):
        said = _receive(from_child, end, _MOST_SAID)  # nothing, when the program is loaded
        if not said:
            with contextlib.suppress(BrokenPipeError):  # it may have failed and ended already: hear what it said
                _send(to_child, test, end)
                _send(to_child, token, end)
            said = _receive(from_child, end, _MOST_SAID)
    late = time.monotonic() >= end
    status = _end(child, alone=alone)
    os.close(from_child)
    os.close(to_child)
    return None if said == token else _reason(said, late, status)


def _end(child: int, *, alone: bool) -> int:
    """End the child and all that it started, in whatever group or session. Returns the child's exit status."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if alone:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # all at once: none can start another in the meantime
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
    while left := _children():
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        os.waitpid(-1, 0)
    return status


def _children() -> list[int]:
    """The children of this process; none, where there is no /proc to tell."""
    with contextlib.suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return [int(process) for process in file.read().split()]
    return []


def _reason(said: bytes, late: bool, status: int) -> str:
    if said:
        return said.decode(errors="replace")
    if late:
        return "took too long"
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        return f"died of {signal.Signals(os.WTERMSIG(status)).name}"
    return "ended the process"


def _be_the_child(program: str, inbox: int, outbox: int) -> None:
    leave = os._exit
    try:
        os.setsid()
        _prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        for fd in range(64):
            if fd not in (inbox, outbox):
                with contextlib.suppress(OSError):
                    os.close(fd)
        for fd in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), fd)
        _try(program, inbox, outbox)
    finally:
        leave(1)


def _try(program: str, inbox: int, outbox: int) -> None:
    """In the child: load the program, run the test, send back the token or what went wrong."""
    # The program may patch any module: what comes after it holds on to what was there before.
    send, receive, describe, names = _send, _receive, _describe, dict(vars(builtins))
    compiled, run = compile, exec
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    try:
        run(compiled(program, "solution", "exec"), module.__dict__)
        send(outbox, b"")
        test = receive(inbox).decode("utf-8", "surrogatepass")
        scope = {name: value for name, value in vars(module).items() if name not in names}
        run(compiled(test, "test", "exec"), scope | {"__builtins__": names, "__name__": "__main__"})
    except BaseException as error:
        send(outbox, describe(error, locals().get("test", "")))
    else:
        send(outbox, receive(inbox))


def _describe(error: BaseException, test: str) -> bytes:
    """The last line of an error, with the line of the test if the error says nothing itself."""
    try:
        said = str(error)
        step = error.__traceback__
        while not said and step is not None:
            if step.tb_frame.f_code.co_filename == "test":
                said = test.splitlines()[step.tb_lineno - 1].strip()
            step = step.tb_next
        lines = said.strip().splitlines() or [""]
        return f"{type(error).__name__}: {lines[-1][:_ERROR]}".encode(errors="replace")
    except BaseException:
        return b"an error that can't be shown"


# -- Messages: four bytes of length, then so many ----------------------------------------------------------------------


def _send(
    fd: int,
    message: bytes,
    end: float | None = None,
    *,
    write: Any = os.write,
    wait: Any = select.select,
    now: Any = time.monotonic,
) -> None:
    rest = len(message).to_bytes(4, "big") + message
    while rest:
        if end is not None and not wait([], [fd], [], max(0.0, end - now()))[1]:
            raise TimeoutError
        # A pipe that can be written to takes so much at once.
        rest = rest[write(fd, rest[: select.PIPE_BUF]) :]


def _receive(
    fd: int,
    end: float | None = None,
    most: int = 2**31,
    *,
    read: Any = os.read,
    wait: Any = select.select,
    now: Any = time.monotonic,
) -> bytes:
    """The next message. Raises TimeoutError after `end`, and EOFError."""

    def exactly(count: int) -> bytes:
        said = b""
        while len(said) < count:
            if end is not None and not wait([fd], [], [], max(0.0, end - now()))[0]:
                raise TimeoutError
            part = read(fd, min(65536, count - len(said)))
            if not part:
                raise EOFError
            said += part
        return said

    count = int.from_bytes(exactly(4), "big")
    if count > most:
        raise EOFError
    return exactly(count)


if __name__ == "__main__":
    main()
