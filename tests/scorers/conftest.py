"""Models for scorers to ask, and a watch on processes that they start."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest

from tiny import save_classifier, save_model


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    at = tmp_path_factory.mktemp("classifiers")
    return {
        "reward": save_classifier(at / "reward", [""], max_position_embeddings=4096),
        "reward with filling": save_classifier(at / "filled", [""], max_position_embeddings=4096, pad_token_id=258),
        "tone": save_classifier(at / "tone", ["polite", "rude", "neutral"], architecture="bert"),
        "labels": save_classifier(
            at / "labels", ["toxic", "threat"], architecture="bert", problem_type="multi_label_classification"
        ),
        "nli": save_classifier(at / "nli", ["entailment", "neutral", "contradiction"], architecture="bert"),
        "unnamed": save_classifier(at / "unnamed", ["", "", ""], architecture="bert"),
        "steps": save_classifier(at / "steps", ["bad", "good"], by_token=True, max_position_embeddings=4096),
        "chat": save_model(at / "chat"),
        "pairs": save_classifier(at / "pairs", [""], architecture="bert", max_position_embeddings=4096),
    }


@pytest.fixture
def ends_with_its_parent() -> Callable[[str], None]:
    """Runs Python code that prints the id of a process of its own and then kills itself: that one must end, too."""

    def watch(code: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(int(done.stdout)).wait(30)

    return watch
