"""A running fault server, as a test sees it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAULT_SERVER = Path(__file__).with_name("fault_server.py")


@dataclass(frozen=True, slots=True)
class Faulty:
    """A running fault server."""

    process: subprocess.Popen[str]
    port: int

    @classmethod
    def start(cls, *words: object) -> Faulty:
        """With words of its command line, as in `start("--faults", 0.2)`."""
        command = [sys.executable, str(FAULT_SERVER), *map(str, words)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return cls(process, int(process.stdout.readline()))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def faults(self) -> dict[str, int]:
        """How often each fault was dealt."""
        return dict(self._get("/faults"))

    def seen(self) -> dict[str, Any]:
        """How many `posts` came, the `most` at a time, their `arrivals` in seconds, and for which `models`."""
        return dict(self._get("/seen"))

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return json.load(answer)
