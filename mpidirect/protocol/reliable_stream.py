"""A connection that survives its socket: numbered messages, kept until they are acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

WINDOW = 64 * 1024 * 1024  # bytes on their way at once

Frames = Sequence[Any]


class Outbox:
    """What was sent to one peer, or waits to be, in order.

    A message is kept until the peer says that it has it, so that a new connection can send it again.
    At most `WINDOW` bytes are under way, however much is kept: the rest waits for acknowledgements.
    """

    def __init__(self) -> None:
        self.last = 0  # the number of the newest message
        self.kept = 0  # bytes in it
        self._messages: deque[tuple[int, Frames, int]] = deque()
        self._sent = 0  # how many of them are under way
        self._flying = 0  # and their bytes
        self._thinned = 0  # how many of the oldest have been made small

    def next(self) -> int:
        """The number for the message that `put` is called with next."""
        return self.last + 1

    def put(self, frames: Frames, size: int) -> None:
        """Add a message of about `size` bytes."""
        self.last += 1
        self.kept += size
        self._messages.append((self.last, frames, size))

    def take_back(self, last: int) -> None:
        """Forget the messages after `last`, of which none was due yet."""
        while self._messages and self._messages[-1][0] > last:
            self.kept -= self._messages.pop()[2]
        self.last = last

    def due(self) -> Iterator[Frames]:
        """The messages that can be sent now; each counts as sent when the next is asked for."""
        while self._sent < len(self._messages) and self._flying < WINDOW:
            _, frames, size = self._messages[self._sent]
            yield frames
            self._sent += 1
            self._flying += size

    @property
    def waiting(self) -> bool:
        """Whether something waits for an acknowledgement before it can be sent."""
        return self._sent < len(self._messages)

    def acknowledge(self, seq: int) -> None:
        """Forget everything up to `seq`."""
        while self._messages and self._messages[0][0] <= seq:
            _, _, size = self._messages.popleft()
            self.kept -= size
            if self._sent:
                self._sent -= 1
                self._flying -= size
            if self._thinned:
                self._thinned -= 1

    def rewind(self, seq: int) -> None:
        """Send everything after `seq` again: the connection is new."""
        self.acknowledge(seq)
        self._sent = 0
        self._flying = 0

    @property
    def oldest(self) -> Frames | None:
        """The oldest message that can still be made small: it is not under way."""
        self._thinned = max(self._thinned, self._sent)
        return self._messages[self._thinned][1] if self._thinned < len(self._messages) else None

    def thin(self, frames: Frames, size: int) -> None:
        """Put `frames` of `size` bytes in the place of `oldest`, to make room; its number stays."""
        seq, _, before = self._messages[self._thinned]
        self._messages[self._thinned] = seq, frames, size
        self.kept += size - before
        self._thinned += 1

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Frames]:
        return (frames for _, frames, _ in self._messages)


class Inbox:
    """What has come from one peer: refuses what came before, and knows when to acknowledge."""

    EVERY_MESSAGES = 64
    EVERY_BYTES = WINDOW // 8

    def __init__(self) -> None:
        self.last = 0
        self._count = 0
        self._bytes = 0

    def accept(self, seq: int, size: int = 0) -> bool:
        """Whether the message `seq` is the one that comes next; False for one that has been here.

        Raises
        ------
        LookupError
            When messages are missing before it: the connection has to be made anew.
        """
        if seq <= self.last:
            return False
        if seq != self.last + 1:
            raise LookupError(f"message {self.last + 1} is missing, {seq} came")
        self.last = seq
        self._count += 1
        self._bytes += size
        return True

    @property
    def unconfirmed(self) -> bool:
        """Whether anything has come that was not acknowledged yet."""
        return self._count > 0

    @property
    def owes(self) -> bool:
        """Whether an acknowledgement of its own should be sent now."""
        return self._count >= self.EVERY_MESSAGES or self._bytes >= self.EVERY_BYTES

    def acknowledged(self) -> int:
        """The number to acknowledge; call it when the acknowledgement is sent."""
        self._count = self._bytes = 0
        return self.last
