"""numpy, imported when it is first used: engines and the controller start in three quarters of the time."""

from __future__ import annotations

import importlib
import logging
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


def warm() -> None:
    """Import numpy while there is nothing else to do: the first array then need not wait for it.

    In the calling thread. Two threads that import parts of one package at once may each hold a lock that the
    other waits for; Python then gives one of them a module that is half imported.
    """
    try:
        importlib.import_module("numpy")
    except Exception:  # who needs it will see the same
        log.warning("numpy can't be imported", exc_info=True)
