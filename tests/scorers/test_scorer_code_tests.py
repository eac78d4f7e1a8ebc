"""`code_tests`: what passes, what does not, and what code that wants to pass, or to get out, can't do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rsft.errors import RecipeError
from rsft.scorers import run_scorer
from rsft.scorers.code_tests import CodeTests, code_of
from rsft.scorers.processes import sandbox
from rsft.types import Message, Prompt, Reply, Score

TURNS = (Message("user", "Write square(x)."),)
SQUARE = "def square(x):\n    return x * x\n"
TESTS = ["assert square(2) == 4", "assert square(-3) == 9", "assert square(0) == 0"]
# Starts a process in a session of its own, and fails with that one's id.
OUTLIVES = """
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, str(os.getpid()).encode())
            __import__("time").sleep(300)
        os._exit(0)
    raise ValueError(os.read(read, 20).decode())
"""

needs_bubblewrap = pytest.mark.skipif(bool(sandbox.why_not("bubblewrap")), reason=sandbox.why_not("bubblewrap"))


def score(code: str, tests: Any = "assert square(2) == 4", **options: Any) -> Score:
    fields = {} if tests is None else {"tests": tests}
    (said,) = run_scorer(CodeTests(**options), [Reply(Prompt("p", TURNS, TURNS, fields), code)])
    return said


def inside(body: str, **options: Any) -> str:
    """What a program that ends with an error says of the place it runs in."""
    said = score(f"import os\ndef square(x):\n{body}", **options)
    assert said.value == 0, said
    return said.explanation.removeprefix("passes 0 of 1: test 1: ")


@needs_bubblewrap
@pytest.mark.parametrize(
    ("code", "value", "said"),
    [
        (SQUARE, 1.0, "passes 3 of 3"),
        (f"Here it is:\n```python\n{SQUARE}```\nBye.", 1.0, "passes 3 of 3"),
        ("def square(x): return 2 * x", 2 / 3, "passes 2 of 3: test 2: AssertionError: assert square(-3) == 9"),
        ("def square(x): return 1 / 0", 0.0, "test 1: ZeroDivisionError: division by zero; test 2: "),
        ("def square(x) return x", 0.0, "SyntaxError: expected ':'"),
        ("def cube(x): return x", 0.0, "NameError: name 'square' is not defined"),
        ("def square(x): return square(x)", 0.0, "RecursionError"),
        ("import numpy\n" + SQUARE, 0.0, "ModuleNotFoundError: No module named 'numpy'"),
        ("def 平方(x): return x * x\nsquare = 平方", 1.0, "passes 3 of 3"),
        ("\ud83d", 0.0, "UnicodeEncodeError"),
        ("seen = []\ndef square(x):\n    seen.append(x)\n    return x * x * len(seen)", 1.0, "passes 3 of 3"),
        (
            "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Number:\n"
            "    value: int\ndef square(x): return Number(x * x).value",
            1.0,
            "passes 3 of 3",
        ),
    ],
)
def test_the_share_of_tests_that_pass(code: str, value: float, said: str) -> None:
    found = score(code, TESTS)
    assert found.value == pytest.approx(value)
    assert said in found.explanation


@needs_bubblewrap
def test_a_text_of_tests_is_one_test() -> None:
    assert score(SQUARE, "\n".join(TESTS)).value == 1
    assert score("def square(x): return 2 * x", "\n".join(TESTS)).value == 0
    assert score(SQUARE, "def check(f):\n    assert f(3) == 9, 'three'\ncheck(square)").value == 1
    checked = score("def square(x): return x", "def check(f):\n    assert f(3) == 9, 'three'\ncheck(square)")
    assert checked.explanation == "passes 0 of 1: test 1: AssertionError: three"


@needs_bubblewrap
@pytest.mark.parametrize("setup", ["import math\n\nfour = 4", ["import math", "four = 4"]])
def test_what_tests_begin_with_stands_before_each_of_them(setup: Any) -> None:
    tests = ["assert math.isclose(square(2), four)", "assert square(3) == four, 'not four'"]
    fields = {"tests": tests, "imports": setup}
    (said,) = run_scorer(CodeTests(setup="imports"), [Reply(Prompt("p", TURNS, TURNS, fields), SQUARE)])
    assert (said.value, said.explanation) == (0.5, "passes 1 of 2: test 2: AssertionError: not four")
    (said,) = run_scorer(CodeTests(), [Reply(Prompt("p", TURNS, TURNS, fields), SQUARE)])
    assert "NameError" in said.explanation


@needs_bubblewrap
@pytest.mark.parametrize("setup", [None, "", [], [""], " \n"])
def test_a_prompt_need_not_have_a_setup(setup: Any) -> None:
    fields = {"tests": TESTS, **({} if setup is None else {"setup": setup})}
    (said,) = run_scorer(CodeTests(setup="setup"), [Reply(Prompt("p", TURNS, TURNS, fields), SQUARE)])
    assert said.value == 1


@pytest.mark.parametrize("setup", [3, ["import math", 3], {"import": "math"}])
def test_a_setup_that_is_no_python_is_a_failed_score(setup: Any) -> None:
    fields = {"tests": TESTS, "setup": setup}
    (said,) = run_scorer(CodeTests(setup="setup"), [Reply(Prompt("p", TURNS, TURNS, fields), SQUARE)])
    assert said.failure == "the prompt's field 'setup' must be a text of Python, or a list of such"


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        (None, "is missing"),
        ([], "is empty"),
        ([""], "a text of asserts"),
        (3, "a text of asserts"),
        ([3], "of asserts"),
    ],
)
def test_a_prompt_without_tests_is_a_failed_score(tests: Any, reason: str) -> None:
    assert reason in str(score(SQUARE, tests).failure)


def test_a_reply_without_code_scores_nothing() -> None:
    assert score("") == score("```python\n```") == score("```json\n{}\n```") == Score(0.0, "no code")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1", "x = 1"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```python\nx = 1\n```\nor\n```py\nx = 2\n```\nThen:\n```bash\nls\n```", "x = 2\n"),
        ("```Python3 title=a\nx = 1\n```", "x = 1\n"),
        ("So:\n```python\nx = 1\ny = 2", "x = 1\ny = 2"),
        ("```text\n3\n```", ""),
        ("用`x`：\n```python\nx = '`'\n```", "x = '`'\n"),
        ("```\n" * 60_000, ""),
    ],
)
def test_which_part_of_a_reply_is_its_code(text: str, code: str) -> None:
    assert code_of(text) == code


# -- Code that wants to pass -------------------------------------------------------------------------------------------

FORGERS = {
    "ends the process when it is loaded": "import sys; sys.exit(0)",
    "ends it at once": "import os; os._exit(0)",
    "ends it when it is tested": "def square(x): raise SystemExit(0)",
    "ends it at once when it is tested": "import os\ndef square(x): os._exit(0)",
    "keeps others from ending it": "import os\nos._exit = lambda code: None\ndef square(x): return 5",
    "says that it passed": "print('passed'); print('null')\ndef square(x): print('null', flush=True)",
    "says so to whatever is open": "import os\ndef square(x):\n    for fd in range(99):\n"
    "        try: os.write(fd, b'null')\n        except OSError: pass",
    "says so where a verdict would be": "import os\ndef square(x):\n    for fd in range(3, 64):\n"
    "        try: os.write(fd, (16).to_bytes(4, 'big') + bytes(16))\n        except OSError: pass\n    os._exit(0)",
    "overrides AssertionError": "import builtins\nbuiltins.AssertionError = BaseException\n"
    "class AssertionError(Exception): pass\ndef square(x): return 5",
    "overrides builtins": "import builtins\nbuiltins.abs = abs = lambda x: 4\ndef square(x): return 5",
    "overrides builtins when it is tested": "import builtins\n"
    "def square(x):\n    builtins.abs = lambda x: 4\n    return 5",
    "patches what ends a test": "import os, select, time, json\nos.read = os.write = lambda *a: b''\n"
    "select.select = lambda *a: ([], [], [])\njson.dumps = lambda *a: 'null'\ndef square(x): return 5",
    "patches the harness": "import __main__\nfor name in [*vars(__main__)]: setattr(__main__, name, lambda *a: None)\n"
    "def square(x): return 5",
    "reads the tests": "import gc, sys\nfound = [o for o in gc.get_objects() if isinstance(o, (list, dict))]\n"
    "text = repr(open(0).read()) + repr(sys.argv) + repr(found)\ndef square(x): return 4 if '== ' + '4' in text else 5",
    "ends the parent": "import os, signal\ndef square(x): os.kill(os.getppid(), signal.SIGKILL)",
    "crashes": "import ctypes\ndef square(x): ctypes.string_at(0)",
    "forks": "import os\ndef square(x):\n    os.fork()\n    os._exit(0)",
}


@needs_bubblewrap
@pytest.mark.parametrize("code", FORGERS.values(), ids=FORGERS.keys())
def test_no_simple_trick_passes(code: str) -> None:
    for tests in ("assert abs(square(2)) == 4", "assert square(2) == 4"):
        assert not score(code, tests, seconds=5).value


# -- Code that wants to get out ----------------------------------------------------------------------------------------


@needs_bubblewrap
@pytest.mark.parametrize(
    "code", ["while True: pass", "def square(x):\n    while True: pass", "import time\ntime.sleep(99)"]
)
def test_what_never_ends_is_killed(code: str) -> None:
    said = score(code, TESTS[:2], seconds=1)
    assert said == Score(0.0, "passes 0 of 2: test 1: took too long; test 2: took too long")


@needs_bubblewrap
def test_one_test_that_never_ends_leaves_the_others_their_time() -> None:
    code = "def square(x):\n    while x == 2: pass\n    return x * x"
    assert score(code, TESTS, seconds=3).explanation == "passes 2 of 3: test 1: took too long"


@needs_bubblewrap
def test_there_is_no_network() -> None:
    said = inside("    import socket\n    print(socket.create_connection(('127.0.0.1', 9), timeout=2))")
    assert said.startswith("ConnectionRefusedError"), "its own loopback, where nothing listens"
    said = inside("    import socket\n    socket.socket(2, 2).sendto(b'x', ('8.8.8.8', 53))")
    assert "Network is unreachable" in said
    said = inside("    import socket\n    raise ValueError(sorted(name for _, name in socket.if_nameindex()))")
    assert said == "ValueError: ['lo']"


@needs_bubblewrap
def test_files_outside_can_be_neither_read_nor_written(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    assert "FileNotFoundError" in inside(f"    open({str(secret)!r}).read()")
    for path in ("/etc/passwd", "/proc/1/environ", __file__, str(tmp_path)):
        assert inside(f"    raise ValueError(os.path.exists({path!r}))") == "ValueError: False"
    assert inside("    raise ValueError(os.listdir('/tmp'))") == "ValueError: []"
    for path in ("/usr/x", "/x", "/etc/x", "/dev/x", f"{sys.base_prefix}/x"):
        assert inside(f"    open({path!r}, 'w')").startswith(("OSError: [Errno 30]", "PermissionError"))


@needs_bubblewrap
def test_neither_the_environment_nor_other_processes_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    assert inside("    raise ValueError('SECRET_TOKEN' in os.environ)") == "ValueError: False"
    assert "ProcessLookupError" in inside(f"    os.kill({os.getpid()}, 0)")
    assert inside("    raise ValueError(os.getuid() == 0)") == "ValueError: False"


@needs_bubblewrap
def test_memory_processes_and_disk_are_limited() -> None:
    assert "MemoryError" in inside("    bytearray(2 << 30)")
    assert "MemoryError" in inside("    bytearray(400 << 20)", memory_mb=256)
    assert "BlockingIOError" in inside("    while os.fork():\n        pass\n    import time; time.sleep(99)")
    bomb = "    while True:\n        try: os.fork()\n        except OSError: pass"
    assert "took too long" in inside(bomb, seconds=1)
    assert "File too large" in inside("    open('/tmp/x', 'wb').write(bytes(32 << 20))")
    fill = "    for i in range(99):\n        open(f'{folder}/{i}', 'wb').write(bytes(2 << 20))"
    for folder in ("/tmp", "/dev/shm"):
        assert "No space left" in inside(fill.replace("{folder}", folder))


@needs_bubblewrap
def test_floods_of_output_go_nowhere() -> None:
    flood = "for i in range(20_000): print('x' * 1000); print('y' * 1000, file=sys.stderr)"
    assert score(f"import sys\ndef square(x):\n    {flood}\n    return x * x") == Score(1.0, "passes 1 of 1")
    loud = score("def square(x): raise ValueError('x' * 10**7)", TESTS * 9)
    assert len(loud.explanation) < 2000
    assert loud.explanation.endswith("and 24 more")


@needs_bubblewrap
def test_a_sandbox_that_breaks_is_a_failed_score(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sandbox._command
    monkeypatch.setattr(sandbox, "_command", lambda *a: [*real(*a)[:-1], "/absent.py"])
    assert "the sandbox broke: exit code 2" in str(score(SQUARE).failure)


@needs_bubblewrap
def test_a_sandbox_ends_with_rsft(ends_with_its_parent: Callable[[str], None]) -> None:
    code = (
        "from test_scorer_code_tests import *; import threading, time; sandbox.why_not('bubblewrap');"
        "threading.Thread(target=score, args=('import time; time.sleep(300)',), kwargs={'seconds': 300}).start();\n"
        "while not (found := psutil.Process().children()): time.sleep(0.01)\n"
        "print(found[0].pid, flush=True); os.kill(os.getpid(), 9)"
    )
    ends_with_its_parent(code)


# -- Where it may not run ----------------------------------------------------------------------------------------------


@pytest.fixture
def probed_anew() -> Iterator[None]:
    sandbox.why_not.cache_clear()
    yield
    sandbox.why_not.cache_clear()


@pytest.mark.usefixtures("probed_anew")
def test_without_bubblewrap_no_run_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for ask in (CodeTests().prepare, lambda: score(SQUARE)):
        with pytest.raises(RecipeError, match="bubblewrap is not installed") as caught:
            ask()
    assert "apt install bubblewrap" in str(caught.value)
    assert "sandbox: container" in str(caught.value)


@pytest.mark.usefixtures("probed_anew")
def test_a_bubblewrap_that_may_make_no_sandbox_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(RecipeError, match="No permissions to create new namespace"):
        CodeTests().prepare()


@pytest.mark.usefixtures("probed_anew")
def test_a_container_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_SIGNS_OF_A_CONTAINER", ("/absent",))
    monkeypatch.delenv("container", raising=False)
    with pytest.raises(RecipeError, match="this is no container"):
        CodeTests(sandbox="container").prepare()


@pytest.mark.usefixtures("probed_anew")
def test_in_a_container_programs_are_limited_too(monkeypatch: pytest.MonkeyPatch) -> None:
    if sandbox.why_not("container") and Path("/usr/bin/python3").exists():  # one that every user can read
        monkeypatch.setattr(sandbox, "_PYTHON", "/usr/bin/python3")
        monkeypatch.setattr(sandbox, "_PREFIX", "/usr")
        sandbox.why_not.cache_clear()
    if problem := sandbox.why_not("container"):
        pytest.skip(problem)
    assert score(SQUARE, TESTS, sandbox="container").value == 1
    assert "took too long" in inside("    while True: pass", sandbox="container", seconds=1)
    assert "MemoryError" in inside("    bytearray(2 << 30)", sandbox="container")
    assert inside("    raise ValueError(os.getuid() == 0)", sandbox="container") == "ValueError: False"
    assert not psutil.pid_exists(int(inside(OUTLIVES, sandbox="container").removeprefix("ValueError: ")))
    with monkeypatch.context() as here:  # as where rsft is not root, and shares its user with the program
        here.setattr(sandbox, "_uid", lambda: None)
        assert not psutil.pid_exists(int(inside(OUTLIVES, sandbox="container").removeprefix("ValueError: ")))
    said = inside("    raise ValueError(open('/proc/self/oom_score_adj').read())", sandbox="container")
    assert said == "ValueError: 1000"
    said = inside("    open(f'/proc/{os.getppid()}/fd/1', 'w').write('null')", sandbox="container")
    assert "PermissionError" in said, "nothing can be written in the harness's name"


@pytest.mark.usefixtures("probed_anew")
def test_root_is_refused_a_python_that_no_other_user_can_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("container", "podman")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sandbox, "_PREFIX", str(tmp_path))
    tmp_path.chmod(0o700)
    with pytest.raises(RecipeError, match="no other user"):
        CodeTests(sandbox="container").prepare()
