"""A stream of numbered messages that survives its socket: a message is kept until it is acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from .frames import Frame

WINDOW = 64 * 1024 * 1024  # maximum bytes of sent messages without acknowledgement

Frames = Sequence[Frame]


class Outbox:
    """The messages to one peer, in order: sent without acknowledgement, or waiting.

    A message is kept until the peer acknowledges it, so that a new connection can send it again. At most
    `WINDOW` bytes are sent without acknowledgement; the other messages wait.
    """

    def __init__(self) -> None:
        self.last = 0  # the number of the newest message
        self.kept = 0  # bytes of the kept messages
        self._messages: deque[tuple[int, Frames, int]] = deque()
        self._sent = 0  # number of sent messages without acknowledgement
        self._unacknowledged = 0  # the bytes of these messages
        self._replaced = 0  # number of the oldest messages that were replaced by small ones, or were sent

    def next(self) -> int:
        """Return the number of the next message of `put`."""
        return self.last + 1

    def put(self, frames: Frames, size: int) -> None:
        """Add a message of about `size` bytes."""
        self.last += 1
        self.kept += size
        self._messages.append((self.last, frames, size))

    def take_back(self, last: int) -> None:
        """Forget the messages after `last`; none of them was sent."""
        while self._messages and self._messages[-1][0] > last:
            self.kept -= self._messages.pop()[2]
        self.last = last

    def due(self) -> Iterator[Frames]:
        """Yield the messages that can be sent now; each counts as sent when the next one is requested."""
        while self._sent < len(self._messages) and self._unacknowledged < WINDOW:
            _, frames, size = self._messages[self._sent]
            yield frames
            self._sent += 1
            self._unacknowledged += size

    @property
    def waiting(self) -> bool:
        """Whether messages wait until others are acknowledged."""
        return self._sent < len(self._messages)

    def acknowledge(self, seq: int) -> None:
        """Forget all messages up to `seq`."""
        while self._messages and self._messages[0][0] <= seq:
            _, _, size = self._messages.popleft()
            self.kept -= size
            if self._sent:
                self._sent -= 1
                self._unacknowledged -= size
            if self._replaced:
                self._replaced -= 1

    def kept_until(self, seq: int) -> int:
        """Return the bytes of the kept messages up to `seq`."""
        return sum(size for number, _, size in self._messages if number <= seq)

    def empty(self, first: int, last: int) -> None:
        """Replace the bulk frames of the kept messages `first` to `last` by empty ones."""
        kept: deque[tuple[int, Frames, int]] = deque()
        for k, (seq, frames, size) in enumerate(self._messages):
            if first <= seq <= last:
                self.kept -= size
                self._unacknowledged -= size if k < self._sent else 0
                frames, size = [frames[0], b""], 0
            kept.append((seq, frames, size))
        self._messages = kept

    def rewind(self, seq: int) -> None:
        """Send all messages after `seq` again, on a new connection."""
        self.acknowledge(seq)
        self._sent = 0
        self._unacknowledged = 0

    @property
    def oldest(self) -> Frames | None:
        """The oldest message that `replace_oldest` can replace; None if all are sent."""
        self._replaced = max(self._replaced, self._sent)
        return self._messages[self._replaced][1] if self._replaced < len(self._messages) else None

    def replace_oldest(self, frames: Frames, size: int) -> None:
        """Replace `oldest` by `frames` of `size` bytes, to free memory; the number stays."""
        seq, _, before = self._messages[self._replaced]
        self._messages[self._replaced] = seq, frames, size
        self.kept += size - before
        self._replaced += 1

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Frames]:
        return (frames for _, frames, _ in self._messages)


class Inbox:
    """The messages from one peer: accepts each message once, and knows when to acknowledge it."""

    # An acknowledgement of its own is due after so many messages or bytes.
    MESSAGES_TO_ACKNOWLEDGE = 64
    BYTES_TO_ACKNOWLEDGE = WINDOW // 8

    def __init__(self) -> None:
        self.last = 0
        self._count = 0
        self._bytes = 0

    def accept(self, seq: int, size: int = 0) -> bool:
        """Count message `seq` and return whether it is the next one; False if it arrived before.

        Raises
        ------
        LookupError
            When messages before `seq` are missing: a new connection is needed.
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
        """Whether a message has arrived that was not acknowledged yet."""
        return self._count > 0

    @property
    def must_acknowledge(self) -> bool:
        """Whether an acknowledgement without another message is due now."""
        return self._count >= self.MESSAGES_TO_ACKNOWLEDGE or self._bytes >= self.BYTES_TO_ACKNOWLEDGE

    def acknowledged(self) -> int:
        """Return the number to acknowledge; call this when the acknowledgement is sent."""
        self._count = self._bytes = 0
        return self.last
