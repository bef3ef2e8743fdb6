"""Buffers to receive into, which are reused while much data comes.

The kernel clears each page before a process gets the page, which costs about as much as the reception of the
data.  So a buffer is reused as soon as nobody has a reference to it.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from ..arrays.lazy_numpy import np

RETENTION = 10.0  # seconds without a request after which the buffers are dropped
_SMALLEST = 1024 * 1024  # bytes of a buffer that is worth reuse
_CAPACITY = 128 * 1024 * 1024  # bytes of all buffers that are kept


class BufferPool:
    """Arrays of bytes that were handed out lately, and are handed out again when nobody has them."""

    def __init__(self) -> None:
        self._buffers: list[np.ndarray] = []
        self._lock = threading.Lock()
        self._last_request = 0.0

    def buffer(self, size: int) -> np.ndarray:
        """Return an array of `size` bytes with any content; the caller owns the array."""
        if size < _SMALLEST:
            return np.empty(size, np.uint8)
        with self._lock:
            self._last_request = time.monotonic()
            buffers = self._buffers
            for k in range(len(buffers)):
                if len(buffers[k]) == size and _references(buffers, k) == _UNUSED:
                    buffers.append(buffers.pop(k))
                    return buffers[-1]
            try:
                buffer = np.empty(size, np.uint8)
            except MemoryError:  # unused buffers may be in the way
                buffers.clear()
                buffer = np.empty(size, np.uint8)
            buffers.append(buffer)
            left = _CAPACITY
            for k in reversed(range(len(buffers))):  # from the newest to the oldest
                left -= len(buffers[k])
                if left < 0:
                    del buffers[: k + 1]
                    break
            return buffer

    def expire(self, retention: float = RETENTION) -> None:
        """Drop all buffers if there was no request for `retention` seconds; call this now and then."""
        if self._buffers and time.monotonic() - self._last_request > retention:
            with self._lock:
                self._buffers.clear()


def _references(buffers: list[Any], k: int) -> int:
    return sys.getrefcount(buffers[k])


_UNUSED = _references([object()], 0)  # the reference in the list, and the references of the call
