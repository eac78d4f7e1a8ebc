"""Compiled parts: what a machine without a compiler is told, and that what is compiled is kept."""

from __future__ import annotations

import logging
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import rsft.engines.law as law_module
from rsft.engines.law import draw
from rsft.models import native
from rsft.types import SamplingParams


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty cache, and nothing remembered."""
    monkeypatch.setenv("RSFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(law_module, "library", native.library)
    forget()
    yield
    forget()


def forget() -> None:
    for remembered in (native.library, native.compiler, native._warn_once):
        remembered.cache_clear()


def drawn_tokens() -> list[int]:
    torch.manual_seed(1)
    tokens: list[int] = draw(torch.randn(6, 500), torch.rand(6), SamplingParams(0.9, top_p=0.9)).tokens.tolist()
    return tokens


def compiler(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_what_was_compiled_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = drawn_tokens()
    made = list((tmp_path / "cache" / "native").iterdir())
    assert [path.suffix for path in made] == [".so"]
    calls = tmp_path / "calls"
    monkeypatch.setenv("CC", compiler(tmp_path / "cc", f'echo "$@" >> {calls}; exec cc "$@"'))
    forget()
    assert drawn_tokens() == first
    assert calls.read_text() == "--version\n"
    assert list((tmp_path / "cache" / "native").iterdir()) == made


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "there is no C compiler"),
        ('test "$1" = --version || { echo "unknown option -fopenmp" >&2; exit 1; }', "unknown option -fopenmp"),
        ('test "$1" = --version || { while test "$1" != -o; do shift; done; echo nonsense > "$2"; }', "file too short"),
    ],
)
def test_without_a_compiler_one_warning_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, script: str | None, reason: str
) -> None:
    monkeypatch.setenv("CC", compiler(tmp_path / "cc", script) if script else str(tmp_path / "absent"))
    monkeypatch.setattr(law_module, "library", native.library)
    with caplog.at_level(logging.WARNING):
        said = drawn_tokens()
        drawn_tokens()
    assert len(caplog.records) == 1
    assert reason in caplog.text
    monkeypatch.setattr(law_module, "library", lambda *_, **__: None)
    assert drawn_tokens() == said
