"""Memory to receive into, used again while much is coming.

The kernel clears each page before a process gets it, which costs about as much as the data that is then
received there.  So memory of the size that is asked for is taken again as soon as nobody uses it any more.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from ..arrays.lazy_numpy import np

KEPT = 10.0  # seconds that memory is kept which nobody asks for
LEAST = 1024 * 1024  # bytes of what is worth it
MOST = 128 * 1024 * 1024  # bytes of it


class BufferPool:
    """Arrays of bytes that were handed out lately: those that nobody has any more are handed out again."""

    def __init__(self) -> None:
        self._rooms: list[np.ndarray] = []
        self._lock = threading.Lock()
        self._asked = 0.0

    def room(self, size: int) -> np.ndarray:
        """An array of so many bytes, which the caller owns; what is in it is anything."""
        if size < LEAST:
            return np.empty(size, np.uint8)
        with self._lock:
            self._asked = time.monotonic()
            rooms = self._rooms
            for k in range(len(rooms)):
                if len(rooms[k]) == size and _uses(rooms, k) == _UNUSED:
                    rooms.append(rooms.pop(k))
                    return rooms[-1]
            try:
                room = np.empty(size, np.uint8)
            except MemoryError:  # what nobody has any more is in the way
                rooms.clear()
                room = np.empty(size, np.uint8)
            rooms.append(room)
            left = MOST
            for k in reversed(range(len(rooms))):  # the newest
                left -= len(rooms[k])
                if left < 0:
                    del rooms[: k + 1]
                    break
            return room

    def expire(self, kept: float = KEPT) -> None:
        """Keep nothing any more, if for `kept` seconds nobody has asked; call this now and then."""
        if self._rooms and time.monotonic() - self._asked > kept:
            with self._lock:
                self._rooms.clear()


def _uses(rooms: list[Any], k: int) -> int:
    return sys.getrefcount(rooms[k])


_UNUSED = _uses([object()], 0)  # one in the list, and what asking takes
