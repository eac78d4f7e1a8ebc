"""The one event loop in which everything that a process asks of servers goes on, beside what it computes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Have the work done. From any thread but the loop's own."""
    return asyncio.run_coroutine_threadsafe(work, _loop())


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Have the work done, and wait for it. An interruption of the waiting ends the work."""
    future = start(work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="servers", daemon=True).start()
    return loop
