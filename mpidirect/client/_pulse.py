"""Whether the controller still answers: of a tunnel the system knows the near end only, and of no freeze."""

from __future__ import annotations

import array
import contextlib
import enum
import fcntl
import termios
import time

from ..wire.connections import Stream
from ..wire.sealed import SILENCE

QUIET = 5.0  # seconds without a word after which the controller is asked for one
LITTLE = 64 * 1024  # bytes on their way that may be the question itself


class Pulse:
    """Watches a connection; it is alive as long as something comes, or much that was sent goes.

    Parameters
    ----------
    stream : Stream
        Which.
    """

    class State(enum.Enum):
        """What to do."""

        ALIVE = enum.auto()
        ASK = enum.auto()  # the controller, to say something
        LOST = enum.auto()  # nothing

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._seen = (0, 0)
        self._since = time.monotonic()
        self._asked = 0.0  # when; 0 if something has come since

    def feel(self) -> State:
        """Call this now and then, when all that has come was taken."""
        now = time.monotonic()
        leaving = _leaving(self._stream)
        seen = self._stream.received, leaving if leaving > LITTLE else 0
        if seen != self._seen:
            self._seen, self._since, self._asked = seen, now, 0.0
        elif self._asked and now - self._asked > SILENCE - QUIET:
            return self.State.LOST
        elif not self._asked and now - self._since > QUIET:
            self._asked = now
            return self.State.ASK
        return self.State.ALIVE


def _leaving(stream: Stream) -> int:
    """How many bytes the system has not brought to the other side, as far as it tells."""
    size = array.array("i", [0])
    with contextlib.suppress(OSError):
        fcntl.ioctl(stream.connection, termios.TIOCOUTQ, size)
    return size[0]
