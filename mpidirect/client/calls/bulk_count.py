"""The bytes of a call's bulk data that have arrived, for the display of progress."""

from __future__ import annotations

from collections.abc import Callable


class BulkCount:
    """Counts the bulk data of a call.

    Attributes
    ----------
    moved, size : int
        Bytes of the request's data that have arrived at the controller or at the engines, and bytes of all
        this data, as the controller reports them; 0 before the first report.
    received : int
        Bytes of results that have arrived.
    expected : int
        Bytes of all results together; 0 while unknown.
    listener : callable or None
        Called when more bytes have been received.
    """

    __slots__ = ("_announced", "expected", "listener", "moved", "received", "size")

    def __init__(self) -> None:
        self.moved = self.size = self.received = self.expected = self._announced = 0
        self.listener: Callable[[], object] | None = None

    def announce(self, size: int, is_last: bool) -> None:
        """Note the size of results that begin to arrive; `is_last` if no other results follow."""
        self._announced += size
        if is_last:
            self.expected = self._announced

    def discard(self, size: int) -> None:
        """Note that `size` bytes will be received again."""
        self.received = max(0, self.received - size)

    def receive(self, size: int) -> None:
        """Note that `size` bytes of a result have been received."""
        self.received += size
        if self.listener is not None:
            self.listener()
