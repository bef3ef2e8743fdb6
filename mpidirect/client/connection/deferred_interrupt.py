"""Defer the exception of a Ctrl-C while a call waits, so that no message is lost.

`results.waiting` decides what a Ctrl-C does to the engines.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without enumerations: they cost a tenth of a call
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_SIGINT = int(signal.SIGINT)


class DeferredInterrupt:
    """In the main thread: note a Ctrl-C and wake the wait; `check` then raises `KeyboardInterrupt`."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._noted = False
        self._former: Any = None

    def __enter__(self) -> DeferredInterrupt:
        if threading.current_thread() is threading.main_thread():
            self._former = _signal.getsignal(_SIGINT)
            if callable(self._former):
                _signal.signal(_SIGINT, self._note)
            else:
                self._former = None
        return self

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._noted = True
        self._wake()

    def check(self) -> None:
        """Raise the exception of a noted Ctrl-C."""
        if self._noted:
            self._noted = False
            self._former(signal.SIGINT, None)  # the former handler raises KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        if self._former is not None:
            _signal.signal(_SIGINT, self._former)
