"""The connection of this process to a Ray cluster, shared by all that need it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rsft.errors import RunError

# How long the head of a cluster may take to answer.
_SECONDS = 10.0

_users = 0
_is_ours = False


def connect(address: str) -> None:
    """Connect, unless that was done. Raises RunError where Ray is not installed or there is no such cluster.

    `address`: auto for the cluster that this machine is part of (RAY_ADDRESS, or one that `ray start` made), HOST:PORT
    of another one's head, or local for a new one on this machine alone.
    """
    global _users, _is_ours  # noqa: PLW0603
    try:
        # What Ray must be told before it is imported: it reports on its users otherwise.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
    except ImportError:
        raise RunError(
            "A run on a Ray cluster (cluster, training.nodes) needs Ray: pip install 'rsft[ray]', on every machine."
        ) from None
    if not ray.is_initialized():
        try:
            _somebody_listens(address)
            ray.init(address=address, namespace="rsft", log_to_driver=False, logging_level=logging.ERROR)
            _is_ours = True
        except (OSError, RuntimeError, ValueError) as error:
            raise RunError(
                f"There is no Ray cluster at '{address}' (cluster.ray): {error}. Start one with ray start --head, and "
                "ray start --address=HOST:6379 on each further machine; or say --set cluster.ray=local."
            ) from error
    _users += 1


def _somebody_listens(address: str) -> None:
    """Raises OSError where nobody does: Ray would go on asking for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_SECONDS).close()


def disconnect() -> None:
    """One that needed the connection is done with it."""
    global _users, _is_ours  # noqa: PLW0603
    _users -= 1
    if _users == 0 and _is_ours:
        import ray

        ray.shutdown()
        _is_ours = False


@contextmanager
def connected(address: str = "auto") -> Iterator[Any]:
    """The module ray, connected for as long as the block lasts: as this process is already, or else to the cluster at
    this address. Raises RunError, see `connect`."""
    connect(address)
    try:
        import ray

        yield ray
    finally:
        disconnect()
