"""Callbacks of results, which run in a thread of their own.

The thread that reads messages holds a lock. A callback in that thread might wait for a lock of the user,
whose holder makes a call: both would wait for ever.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

_due: SimpleQueue[tuple[Callable[[Any], Any], Any]] = SimpleQueue()
_starting = threading.Lock()
_pid = 0  # the process in which the thread runs


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
