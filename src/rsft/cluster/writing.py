"""Segments written by the cluster's machines, wherever they see the place where these lie; the run's process, which has
other things to do, only names them in the ledger."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rsft.cluster.resources import raised
from rsft.store.ledger import Segment
from rsft.store.places import Local
from rsft.store.writing import Order, WriterLost, written

# How long a machine may take over a segment.
_SECONDS = 600.0


def carried_out(order: Order, token: str) -> Segment | None:
    """What an order comes to on whatever machine this is; None where it does not see the disk that it would have to
    write to: there is no file of this name in the order's place."""
    if isinstance(order.place, Local) and not (order.place.folder / token).is_file():
        return None
    return written(order)


class RayWriter:
    """A `Writer` whose orders go to any machine that has time."""

    def __init__(self, run: Path) -> None:
        for old in run.glob(".written-*"):  # of a run that was killed
            old.unlink(missing_ok=True)
        self._token = f".written-{secrets.token_hex(8)}"
        self._is_seen = True

    def write(self, orders: Sequence[Order]) -> Sequence[Segment]:
        import ray

        if not (orders and self._is_seen):
            return [written(order) for order in orders]
        folders = {order.place.folder for order in orders if isinstance(order.place, Local)}
        for folder in folders:
            with contextlib.suppress(OSError):  # nobody will see it, and whoever writes from here says what is wrong
                (folder / self._token).touch()
        try:
            task = ray.remote(carried_out).options(num_cpus=0, scheduling_strategy="SPREAD", max_retries=0)
            asked = [task.remote(_anywhere(order), self._token) for order in orders]
            segments = ray.get(asked, timeout=_SECONDS)
        except ray.exceptions.RayError as error:
            if (cause := raised(error)) is not None:
                raise cause from None
            raise WriterLost(str(error)) from error
        finally:
            for folder in folders:
                with contextlib.suppress(OSError):
                    (folder / self._token).unlink()
        if any(segment is None for segment in segments):
            self._is_seen = False  # a disk that some do not share is written to from here
            raise WriterLost("a machine does not see the disk of the segments")
        return list(segments)


def _anywhere(order: Order) -> Order:
    """The same order for a process that works in another folder."""
    if not isinstance(order.place, Local):
        return order
    return replace(order, place=replace(order.place, folder=order.place.folder.absolute()))
