"""A crash test dies just where it says, also where a point is reached several times at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from rsft import failpoints

REACHING = """
from rsft import failpoints
for times in (5, 1, 3):
    failpoints.reached("another", times)
    failpoints.reached("point", times)
    print(times, flush=True)
"""


@pytest.mark.parametrize(
    ("wanted", "reached"),
    [("point", ""), ("point:5", ""), ("point:6", "5"), ("point:9", "5 1"), ("point:10", "5 1 3"), ("none", "5 1 3")],
)
def test_a_process_dies_where_it_is_to(wanted: str, reached: str) -> None:
    environment = {**os.environ, "RSFT_FAILPOINT": wanted}
    ended = subprocess.run(
        [sys.executable, "-c", REACHING], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.stdout.split() == reached.split()
    assert ended.returncode == (0 if reached == "5 1 3" else -signal.SIGKILL)


def test_who_listens_hears_of_each_time() -> None:
    heard: list[str] = []
    with failpoints.listening(heard.append):
        failpoints.reached("point")
        failpoints.reached("point", 3)
        failpoints.reached("point", 0)
    assert heard == ["point"] * 4
