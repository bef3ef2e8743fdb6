"""Messages through a stream socket, which the calling thread reads and writes.

A message is the number of its frames, the sizes of the frames, and then the frames.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Sequence

from ..arrays.lazy_numpy import np
from ..protocol.frames import Frame

LARGE = 64 * 1024  # minimum bytes of a frame that is received into memory of its own
NOSIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)  # a broken pipe must not call a signal handler of user code

_READ_SIZE = 64 * 1024  # bytes of one read
_SMALL_READ_SIZE = 512  # bytes of one read if memory is short: Python has reserved memory for small objects
_MOST_FRAMES = 1 << 16  # maximum number of frames of one message
_COUNT = struct.Struct("<I")
_FEW_FRAMES = 32  # most messages have at most so many frames
_HEADS = [struct.Struct(f"<I{count}Q") for count in range(_FEW_FRAMES + 1)]


def _head(frames: Sequence[Frame]) -> bytes:
    """Return the number and the sizes of the frames."""
    count = len(frames)
    head = _HEADS[count] if count <= _FEW_FRAMES else struct.Struct(f"<I{count}Q")
    return head.pack(count, *map(len, frames))


def pack(frames: Sequence[Frame]) -> bytes | None:
    """Return a small message in one piece; None if the message is large."""
    return None if sum(map(len, frames)) >= LARGE else b"".join([_head(frames), *frames])


class MessageStream:
    """One end of a connection.

    Parameters
    ----------
    connection : socket.socket
        A connected stream. If the socket does not block, no method blocks.
    largest : int
        The maximum bytes of one message.

    Attributes
    ----------
    ended : bool
        Whether the peer has closed; earlier messages can still be read.
    coming : deque of list
        The received messages.
    """

    def __init__(self, connection: socket.socket, largest: int) -> None:
        self.connection = connection
        self.ended = False
        self.coming: deque[list[Frame]] = deque()
        self._largest = largest
        self._incomplete = b""  # received bytes of an incomplete message
        self._sizes: tuple[int, ...] = ()  # the sizes of the frames of the incomplete message
        self._frames: list[Frame] = []  # the complete frames of the incomplete message
        self._missing: memoryview | None = None  # the part of a large frame that has not arrived
        self._going: deque[Frame] = deque()

    # Sending

    def send(self, frames: Sequence[Frame]) -> None:
        """Send a message, or as much of it as the socket takes now: `flush` sends the rest."""
        packed = pack(frames)
        if packed is not None:
            self.send_packed(packed)
        else:
            self._going.append(_head(frames))
            self._going.extend(f if type(f) is bytes and len(f) < LARGE else memoryview(f) for f in frames)
            self.flush()

    def send_packed(self, packed: bytes) -> None:
        """Send a message that `pack` has made."""
        self._going.append(packed)
        self.flush()

    @property
    def pending(self) -> bool:
        """Whether a part of a message could not be sent yet."""
        return bool(self._going)

    def flush(self) -> None:
        """Send as much of the waiting messages as the socket takes now."""
        going = self._going
        try:
            while going:
                if len(going) == 1:
                    sent = self.connection.send(going[0], NOSIGNAL)
                    if sent == len(going[0]):
                        going.clear()
                        return
                else:
                    sent = self.connection.sendmsg(list(itertools.islice(going, 64)), (), NOSIGNAL)
                while going and sent >= len(going[0]):
                    sent -= len(going.popleft())
                if sent:
                    going[0] = memoryview(going[0])[sent:]
        except BlockingIOError:
            pass
        except OSError as e:  # the connection is closed; received messages can still be read
            self._check(e)
            going.clear()
            with contextlib.suppress(OSError):  # no other message may follow an incomplete one
                self.connection.shutdown(socket.SHUT_WR)
        except BaseException:
            self._give_up()
            raise

    # Receiving

    def fill(self) -> bool:
        """Read a piece of the received data; return False if there is none, or the connection has ended.

        Raises
        ------
        ValueError
            When the data is no message.
        """
        if self.ended:
            return False
        try:
            return self._fill()
        except ValueError:
            raise
        except BaseException:
            self._give_up()
            raise

    def _check(self, error: OSError) -> None:
        """Raise an error that is not an OSError: for example, a signal handler raises one for a timeout."""
        if error.errno is None:
            self._give_up()
            raise error

    def _give_up(self) -> None:
        """End the connection after an exception of a signal handler: the state of the transfer is unknown."""
        self._going.clear()
        self.coming.clear()
        self.ended = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _fill(self) -> bool:
        data = b""
        try:
            if self._missing is not None:
                size = self.connection.recv_into(self._missing)
                self._missing = self._missing[size:]
            else:
                data = self._receive()
                size = len(data)
        except BlockingIOError:
            return False
        except OSError as e:
            self._check(e)
            size = 0
        if not size:
            self.ended = True
            return False
        if self._missing is None:
            self._take(self._incomplete + data if self._incomplete else data)
        elif not self._missing:
            self._missing = None
            self._complete()
            self._take(b"")  # empty frames may follow
        return True

    def _receive(self) -> bytes:
        """Read a piece; a small piece if there is no memory for a large one, which then has read nothing."""
        try:
            return self.connection.recv(_READ_SIZE)
        except MemoryError:
            return self.connection.recv(_SMALL_READ_SIZE)

    @property
    def amid(self) -> bool:
        """Whether the rest of a large frame is missing."""
        return self._missing is not None

    def _take(self, data: bytes) -> None:
        """Cut data into frames and messages."""
        at, end = 0, len(data)
        if not self._sizes and self._take_whole(data):
            return
        while True:
            if not self._sizes:
                start = self._begin(data, at)
                if start == at:
                    break
                at = start
            size = self._sizes[len(self._frames)]
            if size < LARGE:
                if end - at < size:
                    break
                self._frames.append(data[at : at + size])
                at += size
            else:
                room = np.empty(size, np.uint8)
                there = min(size, end - at)
                room[:there] = np.frombuffer(data, np.uint8, there, at)
                self._frames.append(room)
                at += there
                if there < size:
                    self._missing = memoryview(room)[there:]
                    break
            self._complete()
        self._incomplete = data[at:]

    def _take_whole(self, data: bytes) -> bool:
        """Take the data if it is one whole small message, the usual case; return whether it is."""
        if len(data) < _COUNT.size or len(data) >= LARGE:
            return False
        (count,) = _COUNT.unpack_from(data)
        if not 0 < count <= _FEW_FRAMES or len(data) < (start := _HEADS[count].size):
            return False
        _, *sizes = _HEADS[count].unpack_from(data)
        if start + sum(sizes) != len(data):
            return False
        frames: list[Frame] = []
        for size in sizes:
            end = start + size
            frames.append(data[start:end])
            start = end
        self.coming.append(frames)
        self._incomplete = b""
        return True

    def _begin(self, data: bytes, at: int) -> int:
        """Read the head of a message if it is complete; return the position of the frames."""
        if len(data) - at < _COUNT.size:
            return at
        (count,) = _COUNT.unpack_from(data, at)
        if not 0 < count <= _MOST_FRAMES:
            raise ValueError(f"a message of {count} frames")
        start: int = at + _COUNT.size + 8 * count
        if len(data) < start:
            return at
        sizes = struct.unpack_from(f"<{count}Q", data, at + _COUNT.size)
        if sum(sizes) > self._largest:
            raise ValueError(f"a message of {sum(sizes)} bytes")
        self._sizes = sizes
        return start

    def _complete(self) -> None:
        """Finish the message if all of its frames have arrived."""
        if len(self._frames) == len(self._sizes):
            self.coming.append(self._frames)
            self._frames, self._sizes = [], ()

    def drain(self, deadline: float) -> None:
        """Send the waiting messages until a deadline on the monotonic clock."""
        self.connection.setblocking(False)
        poll = select.poll()
        poll.register(self.connection, select.POLLOUT)
        while self.pending and (left := deadline - time.monotonic()) > 0:
            poll.poll(1000 * left)
            MessageStream.flush(self)

    def close(self) -> None:
        """Close the connection, even if a forked child has inherited it."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
