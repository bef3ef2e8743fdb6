"""numpy, imported at its first use: engines and the controller start in three quarters of the time."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

__all__ = ["np"]

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    import numpy as np
else:

    class _Numpy:
        def __getattr__(self, name: str) -> Any:
            import numpy

            value = getattr(numpy, name)
            setattr(self, name, value)
            return value

    np = _Numpy()


def warm_in_turn() -> bool:
    """Import numpy, unless as many processes of this user import it on this host as there are cores.

    More processes would keep all cores busy for seconds, while calls wait. Return whether numpy was
    imported.
    """
    if sys.platform != "linux":
        warm()
        return True
    with socket.socket(socket.AF_UNIX) as turn:
        for core in range(len(os.sched_getaffinity(0))):
            with contextlib.suppress(OSError):  # another process uses the slot of this core
                turn.bind(f"\0mpidirect-{os.getuid()}-warm-{core}")  # an abstract name, without a file
                warm()
                return True
    return False


def warm() -> None:
    """Import numpy in the calling thread, so that the first array need not wait for the import.

    Call this in the main thread: two threads that import parts of one package at the same time may each hold
    a lock that the other waits for, and Python then gives one of them a module that is half imported.
    """
    try:
        importlib.import_module("numpy")
    except Exception:  # the first use of numpy will raise the same error
        log.warning("numpy can't be imported", exc_info=True)
