"""Callbacks of results run in a thread of their own.

Whoever reads what comes from the cluster holds a lock meanwhile. A callback that waited there for a lock of
its own, whose holder makes a call, would wait for ever.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

_due: SimpleQueue[tuple[Callable[[Any], Any], Any]] = SimpleQueue()
_starting = threading.Lock()
_pid = 0  # the process whose thread runs


def later(callback: Callable[[Any], Any], future: Any) -> None:
    """Call ``callback(future)`` soon."""
    global _pid
    _due.put((callback, future))
    if _pid != os.getpid():
        with _starting:
            if _pid != os.getpid():
                _pid = os.getpid()
                threading.Thread(target=_run, name="mpidirect-callbacks", daemon=True).start()


def _run() -> None:
    while True:
        callback, future = _due.get()
        try:
            callback(future)
        except BaseException:
            import logging

            logging.getLogger(__name__).exception("exception calling callback for %r", future)
        del callback, future
