"""The one event loop in which everything that a process asks of servers goes on, beside what it computes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

_TURNS = threading.RLock()


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Have the work done. From any thread but the loop's own."""
    with _TURNS:  # or two threads that come first together would get a loop each
        loop = _loop()
    return asyncio.run_coroutine_threadsafe(work, loop)


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Have the work done, and wait for it. An interruption of the waiting ends the work."""
    future = start(work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


async def aside(work: Callable[[], T]) -> T:
    """What work that blocks gives, done in a thread that does not keep the process from ending."""
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # from here on it can't be cancelled

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="servers: aside", daemon=True).start()
    return await asyncio.wrap_future(done)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="servers", daemon=True).start()
    return loop
