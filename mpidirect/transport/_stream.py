"""Messages through a socket that we read and write ourselves.

A message is the number of its frames, their sizes, and then the frames.
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
from typing import Any

from ..arrays.lazy_numpy import np

LARGE = 64 * 1024  # bytes from which a frame is received into memory of its own
NOSIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)  # a signal handler of user code must not see a broken pipe

_READ = 64 * 1024  # bytes taken at once
_FRAMES = 1 << 16  # in one message at most
_COUNT = struct.Struct("<I")
_FEW = 32  # frames, in most messages
_HEADS = [struct.Struct(f"<I{count}Q") for count in range(_FEW + 1)]


def _head(frames: Sequence[Any]) -> bytes:
    count = len(frames)
    head = _HEADS[count] if count <= _FEW else struct.Struct(f"<I{count}Q")
    return head.pack(count, *map(len, frames))


def pack(frames: Sequence[Any]) -> bytes | None:
    """A message in one piece, if it is small."""
    return None if sum(map(len, frames)) >= LARGE else b"".join([_head(frames), *frames])


class MessageStream:
    """One end of a connection.

    Parameters
    ----------
    connection : socket.socket
        A connected stream; where it does not block, nothing here does.
    largest : int
        Bytes of one message at most.

    Attributes
    ----------
    ended : bool
        Whether the other side is gone; what it sent before can be read.
    coming : deque of list
        The messages that have come.
    """

    def __init__(self, connection: socket.socket, largest: int) -> None:
        self.connection = connection
        self.ended = False
        self.coming: deque[list[Any]] = deque()
        self._largest = largest
        self._left = b""  # what has come and is not complete
        self._sizes: tuple[int, ...] = ()  # of the message that is coming
        self._frames: list[Any] = []  # of it, as far as they are complete
        self._room: memoryview | None = None  # what is missing of a large frame
        self._going: deque[Any] = deque()

    # -- sending ------------------------------------------------------------------------------------

    def send(self, frames: Sequence[Any]) -> None:
        """Send a message, or as much as goes now: `flush` sends the rest."""
        packed = pack(frames)
        if packed is not None:
            self.send_packed(packed)
        else:
            self._going.append(_head(frames))
            self._going.extend(f if type(f) is bytes and len(f) < LARGE else memoryview(f) for f in frames)
            self.flush()

    def send_packed(self, packed: bytes) -> None:
        """The same with a message that `pack` has made."""
        self._going.append(packed)
        self.flush()

    @property
    def pending(self) -> bool:
        """Whether something could not be sent yet."""
        return bool(self._going)

    def flush(self) -> None:
        """Send what waits, as far as it goes now."""
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
        except OSError as e:  # it is closed; what came before that can still be read
            self._check(e)
            going.clear()
            with contextlib.suppress(OSError):  # nothing may follow what has gone of a message
                self.connection.shutdown(socket.SHUT_WR)
        except BaseException:
            self._give_up()
            raise

    # -- receiving ----------------------------------------------------------------------------------

    def fill(self) -> bool:
        """Take in a piece of what has come; False if there was nothing, or the connection has ended.

        Raises
        ------
        ValueError
            When what comes is no message.
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
        """Raise an error that is not the system's: a signal's handler may raise one, for a timeout."""
        if error.errno is None:
            self._give_up()
            raise error

    def _give_up(self) -> None:
        """A signal's handler has raised just here: nobody knows how much has gone or come."""
        self._going.clear()
        self.coming.clear()
        self.ended = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _fill(self) -> bool:
        data = b""
        try:
            if self._room is not None:
                size = self.connection.recv_into(self._room)
                self._room = self._room[size:]
            else:
                data = self.connection.recv(_READ)
                size = len(data)
        except BlockingIOError:
            return False
        except OSError as e:
            self._check(e)
            size = 0
        if not size:
            self.ended = True
            return False
        if self._room is None:
            self._take(self._left + data if self._left else data)
        elif not self._room:
            self._room = None
            self._complete()
            self._take(b"")  # frames may follow of which nothing comes
        return True

    @property
    def amid(self) -> bool:
        """Whether the rest of a large frame is to come."""
        return self._room is not None

    def _take(self, data: bytes) -> None:
        at, end = 0, len(data)
        if not self._sizes and self._is_all(data):
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
                    self._room = memoryview(room)[there:]
                    break
            self._complete()
        self._left = data[at:]

    def _is_all(self, data: bytes) -> bool:
        """Take it if it is one whole small message, as most are."""
        if len(data) < _COUNT.size or len(data) >= LARGE:
            return False
        (count,) = _COUNT.unpack_from(data)
        if not 0 < count <= _FEW or len(data) < (start := _HEADS[count].size):
            return False
        _, *sizes = _HEADS[count].unpack_from(data)
        if start + sum(sizes) != len(data):
            return False
        frames = []
        for size in sizes:
            end = start + size
            frames.append(data[start:end])
            start = end
        self.coming.append(frames)
        self._left = b""
        return True

    def _begin(self, data: bytes, at: int) -> int:
        """Read the head of a message, if it is all there; returns where its frames begin."""
        if len(data) - at < _COUNT.size:
            return at
        (count,) = _COUNT.unpack_from(data, at)
        if not 0 < count <= _FRAMES:
            raise ValueError(f"a message of {count} frames")
        start = at + _COUNT.size + 8 * count
        if len(data) < start:
            return at
        sizes = struct.unpack_from(f"<{count}Q", data, at + _COUNT.size)
        if sum(sizes) > self._largest:
            raise ValueError(f"a message of {sum(sizes)} bytes")
        self._sizes = sizes
        return start

    def _complete(self) -> None:
        if len(self._frames) == len(self._sizes):
            self.coming.append(self._frames)
            self._frames, self._sizes = [], ()

    def drain(self, deadline: float) -> None:
        """Send what waits, until then at most."""
        self.connection.setblocking(False)
        poll = select.poll()
        poll.register(self.connection, select.POLLOUT)
        while self.pending and (left := deadline - time.monotonic()) > 0:
            poll.poll(1000 * left)
            MessageStream.flush(self)

    def close(self) -> None:
        """Close the connection, also where a forked child has inherited it."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
