"""The amount of bulk data that this process receives, for the display of progress."""

from __future__ import annotations


class Traffic:
    """Bytes of bulk data: announced by headers, and received.

    Threads that copy data together may lose a count: the numbers are for the eye.
    """

    def __init__(self) -> None:
        self.announced = 0
        self.received = 0


traffic = Traffic()  # of all clients of this process
