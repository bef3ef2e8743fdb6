"""Buffers to receive into, which are reused while much data arrives.

The kernel clears each page before a process gets it, which costs about as much as receiving the data. So a
buffer is reused when nothing refers to it any more.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from ..arrays.lazy_numpy import np

RETENTION = 10.0  # seconds without a request after which the buffers are dropped
_SMALLEST = 1024 * 1024  # minimum bytes of a buffer that is reused
_CAPACITY = 128 * 1024 * 1024  # maximum bytes of all kept buffers together


class BufferPool:
    """Arrays of bytes that are handed out again when nothing refers to them any more."""

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
            except MemoryError:  # unused buffers may fill the memory
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
        """Drop all buffers if there was no request for `retention` seconds; call this in intervals."""
        if self._buffers and time.monotonic() - self._last_request > retention:
            with self._lock:
                self._buffers.clear()


def _references(buffers: list[Any], k: int) -> int:
    return sys.getrefcount(buffers[k])


_UNUSED = _references([object()], 0)  # the reference in the list, and the references of the call
