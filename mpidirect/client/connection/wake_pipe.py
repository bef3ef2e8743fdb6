"""A pipe that ends the sleep of a thread which polls descriptors."""

from __future__ import annotations

import os


class WakePipe:
    """A descriptor that becomes readable when another thread calls `wake`.

    Attributes
    ----------
    descriptor : int
        To be polled together with the socket's descriptors.
    """

    def __init__(self) -> None:
        self.descriptor, self._write_end = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._write_end, False)

    def wake(self) -> None:
        """Make the descriptor readable."""
        try:
            os.write(self._write_end, b"!")
        except OSError:  # the pipe is full, so the descriptor is readable; or the pipe is closed
            pass

    def drain(self) -> None:
        """Make the descriptor unreadable again."""
        try:
            os.read(self.descriptor, 4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Close both ends."""
        os.close(self.descriptor)
        os.close(self._write_end)
