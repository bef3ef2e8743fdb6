"""A display of a notebook that is updated until its subject has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

_INTERVAL = 0.5  # seconds between two updates, at first
_SHARE = 0.05  # the interval as a part of the time so far, for a display that is updated for long


def display_until(ended: threading.Event, formats: Callable[[], dict[str, str]]) -> None:
    """Show the formats of an object, and update the display until an event.

    Parameters
    ----------
    ended : Event
        Set when the object does not change any more.
    formats : callable
        Returns the present state of the object by MIME type.
    """
    from IPython.display import display

    handle = display(formats(), raw=True, display_id=True)
    threading.Thread(
        target=_update, args=(handle, ended, formats), name="mpidirect-display", daemon=True
    ).start()


def _update(handle: Any, ended: threading.Event, formats: Callable[[], dict[str, str]]) -> None:
    began = time.monotonic()
    is_last = False
    while not is_last:
        is_last = ended.wait(max(_INTERVAL, _SHARE * (time.monotonic() - began)))
        handle.update(formats(), raw=True)
