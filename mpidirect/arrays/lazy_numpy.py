"""numpy, imported when it is first used: engines and the controller start in three quarters of the time."""

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
    """The same, if fewer processes of this user do it on this host just now than there are cores.

    More would keep all cores busy for seconds, and so calls waiting. Returns whether it was done.
    """
    if sys.platform != "linux":
        warm()
        return True
    with socket.socket(socket.AF_UNIX) as turn:
        for core in range(len(os.sched_getaffinity(0))):
            with contextlib.suppress(OSError):  # another process has this one
                turn.bind(f"\0mpidirect-{os.getuid()}-warm-{core}")  # a name without a file
                warm()
                return True
    return False


def warm() -> None:
    """Import numpy while there is nothing else to do: the first array then need not wait for it.

    In the calling thread. Two threads that import parts of one package at once may each hold a lock that the
    other waits for; Python then gives one of them a module that is half imported.
    """
    try:
        importlib.import_module("numpy")
    except Exception:  # who needs it will see the same
        log.warning("numpy can't be imported", exc_info=True)
