"""No worker outlives its machine's part of Ray: what it draws would reach nobody, and it would keep its GPU."""

from __future__ import annotations

import os
import threading
import time

from rsft.machines.homes import remove_all

_LOOK_SECONDS = 1.0
# How long a process that ends may still answer who asked for it.
_LAST_SECONDS = 0.5


def end_with_parent() -> None:
    """From now on, end this process once the one that started it is gone. Ray itself may leave an actor behind whose
    raylet was killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent and parent != 1:  # else it is an orphan already
            time.sleep(_LOOK_SECONDS)
        try:
            remove_all()
        finally:
            os._exit(1)

    threading.Thread(target=watch, name="watches its parent", daemon=True).start()


def end_soon() -> None:
    """End this process in a moment, whatever its threads are at: one that holds a model can hang when it ends by
    itself. Its own folders go at once."""
    remove_all()
    timer = threading.Timer(_LAST_SECONDS, os._exit, (0,))
    timer.daemon = True
    timer.start()
