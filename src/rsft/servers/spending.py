"""What a run has spent on servers, whenever it was."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from rsft.errors import RunError, ServerError
from rsft.servers.endpoint import Endpoint

# How often the sum is written down: what a killed run has spent since is not counted.
_SECONDS = 1.0
_ZERO: Mapping[str, float] = {"requests": 0, "read": 0, "written": 0, "cost": 0.0}


class Spending:
    """Tokens and cost by endpoint. Kept in a file, so that a cap holds for a run however often it was resumed."""

    def __init__(self) -> None:
        self._file: Path | None = None
        self._spent: dict[str, dict[str, float]] = {}
        self._written = 0.0
        self._turns = threading.Lock()

    def keep_in(self, file: Path) -> None:
        """From now on what is spent is added to what this file holds. Raises RunError where it can't be read."""
        with self._turns:
            self._write()
            self._file, self._spent = file, {}
            if file.is_file():
                self._spent = _read(file)

    def add(self, endpoint: Endpoint, read: int, written: int) -> None:
        """So many tokens were read and written."""
        with self._turns:
            sums = self._spent.setdefault(name_of(endpoint), dict(_ZERO))
            sums["requests"] += 1
            sums["read"] += read
            sums["written"] += written
            if endpoint.price is not None:
                sums["cost"] += endpoint.price.of(read, written)
            if time.monotonic() - self._written > _SECONDS:
                self._write()

    def check(self, endpoint: Endpoint) -> None:
        """Raise ServerError where a run has spent all that it may."""
        spent = self.cost(endpoint)
        if endpoint.max_cost is not None and spent >= endpoint.max_cost:
            raise ServerError(
                f"The model '{endpoint.model}' at {endpoint.url} has cost {spent:.2f}, and max_cost is "
                f"{endpoint.max_cost:g}. What was drawn is kept: allow more with --set, and the run goes on."
            )

    def cost(self, endpoint: Endpoint) -> float:
        """What a model at an endpoint has cost."""
        return self._spent.get(name_of(endpoint), {}).get("cost", 0.0)

    @property
    def sums(self) -> Mapping[str, Mapping[str, float]]:
        """Requests, tokens read and written, and cost, by endpoint."""
        with self._turns:
            return {name: dict(sums) for name, sums in self._spent.items()}

    def write(self) -> None:
        """Write down what was spent so far."""
        with self._turns:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        if self._file is None or not self._spent or not self._file.parent.is_dir():  # a run may be moved, or removed
            return
        aside = self._file.with_suffix(".part")
        aside.write_text(json.dumps(self._spent), encoding="utf-8")
        os.replace(aside, self._file)


def _read(file: Path) -> dict[str, dict[str, float]]:
    try:
        spent = json.loads(file.read_text(encoding="utf-8"))
        return {name: {key: zero + sums[key] for key, zero in _ZERO.items()} for name, sums in spent.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"What was spent on servers can't be read from {file} ({type(error).__name__}). Remove that file to go on "
            "as if nothing had been spent."
        ) from None


def name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.model} at {endpoint.url}"


SPENDING = Spending()
"""What this process spends, for whichever run it works on."""
