"""Fixtures of the prompt tests."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of rows, text or bytes into a fresh folder; its path. Names that end with .gz are compressed."""

    def write_file(name: str, *content: Any) -> str:
        if content and isinstance(content[0], bytes):
            raw = b"".join(content)
        else:
            lines = [line if isinstance(line, str) else json.dumps(line) for line in content]
            raw = "".join(line + "\n" for line in lines).encode("utf-8")
        path = tmp_path / name
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return str(path)

    return write_file
