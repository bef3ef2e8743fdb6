"""The bytes of a call's bulk data that have arrived, for the display of progress."""

from __future__ import annotations

from collections.abc import Callable


class BulkCount:
    """Counts the bulk data of a call.

    Attributes
    ----------
    moved, size : int
        As the controller reports it: how much of the request's data has arrived there or at the engines, and
        how much that is in all; 0 until it reports anything.
    received : int
        The bytes of results that are here.
    expected : int
        The bytes of all results together; 0 while that is not known.
    listener : callable or None
        Called when more has been received.
    """

    __slots__ = ("_announced", "expected", "listener", "moved", "received", "size")

    def __init__(self) -> None:
        self.moved = self.size = self.received = self.expected = self._announced = 0
        self.listener: Callable[[], object] | None = None

    def announce(self, size: int, is_last: bool) -> None:
        """Note the bytes of results that begin to arrive; `is_last` if all engines have answered then."""
        self._announced += size
        if is_last:
            self.expected = self._announced

    def discard(self, size: int) -> None:
        """Note that so many bytes have to be received again."""
        self.received = max(0, self.received - size)

    def receive(self, size: int) -> None:
        """Note that so many bytes of a result have been received."""
        self.received += size
        if self.listener is not None:
            self.listener()
