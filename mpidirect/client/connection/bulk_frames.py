"""Bulk frames of results, which are read into memory that the results own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from ...job.allocation import cores
from ...memory import process_memory
from ...memory.buffer_pool import BufferPool
from ...protocol import messages
from ...protocol.frames import Frame

THREADS = 4  # the maximum number of threads that copy data
LARGEST = 1 << 40  # bytes of one frame
buffer_pool = BufferPool()  # for all clients of this process

Received = Callable[[int], object]  # called with the number of bytes of each piece of a result
Value = TypeVar("Value")

EXPIRED = "it was dropped: the controller had no more room while this client was away"


class BulkFrame:
    """One frame of a result."""

    def __init__(self, size: int) -> None:
        self.size = size

    def read_into(self, room: np.ndarray, received: Received) -> None:
        """Fill `room`; call `received` with the size of each piece that is read only now."""
        raise NotImplementedError


class ChunkedFrame(BulkFrame):
    """A frame that arrives in chunks, of the result of the request `id`."""

    def __init__(self, size: int, id: str) -> None:
        super().__init__(size)
        self.id = id
        self._room: np.ndarray | None = None
        # memory for the chunks that have not arrived, the last chunk first
        self._places: list[np.ndarray] = []

    def place(self) -> np.ndarray:
        """Return the memory for the next chunk."""
        if self._room is None:
            self._room = buffer_pool.buffer(self.size)
            self._places = [self._room[start:stop] for start, stop in messages.chunks(self.size)][::-1]
        return self._places[-1]

    def add(self, chunk: Frame) -> None:
        """Take the next chunk."""
        self.place()[:] = np.frombuffer(chunk, np.uint8)
        self._places.pop()

    def taken(self) -> np.ndarray:
        """Return the whole frame; its memory now belongs to the caller."""
        room, self._room = self._room, None
        assert room is not None
        return room

    def read_into(self, room: np.ndarray, received: Received) -> None:
        room[:] = self.taken()


class RemoteFrame(BulkFrame):
    """A frame in the memory of an engine on this host."""

    def __init__(self, size: int, pid: int, address: int) -> None:
        super().__init__(size)
        self.pid = pid
        self.address = address
        self._read: np.ndarray | None = None  # the memory that it has been read into

    def read_into(self, room: np.ndarray, received: Received) -> None:
        if self._read is not room:
            read_together([(self, room)], received)
        if self._read is not room:
            process_memory.read(self.pid, self.address, room)  # raises an error that says what is wrong


def read_together(pairs: Sequence[tuple[RemoteFrame, np.ndarray]], received: Received) -> None:
    """Read frames by several threads: one thread does not reach the memory's rate.

    `received` is called with the size of each piece. `RemoteFrame.read_into` raises the error of a frame that
    can't be read.
    """

    def read(piece: tuple[RemoteFrame, np.ndarray, int, int]) -> int:
        frame, room, start, stop = piece
        process_memory.read(frame.pid, frame.address + start, room[start:stop])
        return stop - start

    pieces = [(frame, room, *part) for frame, room in pairs for part in messages.chunks(frame.size)]
    try:
        in_parallel(read, pieces, received)
    except OSError:
        return
    for frame, room in pairs:
        frame._read = room


def in_parallel(
    action: Callable[[Any], Value], pieces: Sequence[Any], done: Callable[[Value], object] = bool
) -> None:
    """Call `action` with each piece, in several threads: for system calls that release Python's lock.

    `done` is called in this thread with the results of `action`, in the order of the pieces.
    """
    threads = min(THREADS, len(pieces), cores())
    if threads > 1:
        try:
            with ThreadPoolExecutor(threads) as pool:
                for value in pool.map(action, pieces):
                    done(value)
            return
        except RuntimeError:  # no further thread can be started
            pass
    for piece in pieces:
        done(action(piece))


def materialised(
    frames: Sequence[Any], places: Sequence[np.ndarray] = (), received: Received = bool
) -> list[Any]:
    """Return frames in memory: bulk frames are read into `places`, or into their own memory.

    `received` is called with the size of each piece that is read only now.
    """
    space = iter(places)
    read = []
    for frame in frames:
        if isinstance(frame, BulkFrame):
            room = next(space, None)
            if room is None and isinstance(frame, ChunkedFrame):
                room = frame.taken()
            else:
                room = buffer_pool.buffer(frame.size) if room is None else room
                frame.read_into(room, received)
            frame = room
        read.append(frame)
    return read


def changed(pid: int, word: int) -> bool:
    """Whether the engine has moved its result before it was read; `word` is an address, or 0."""
    if not word:
        return False
    found = np.empty(1, np.int64)
    process_memory.read(pid, word, found.view(np.uint8))
    return bool(found[0])


class FrameAssembly:
    """Replies whose chunks are arriving."""

    def __init__(self, replies: list[messages.Reply], frames: list[Frame]) -> None:
        self.replies: list[tuple[messages.Reply, list[Any]]] = []
        due: list[ChunkedFrame] = []
        inline = iter(frames)
        for reply in replies:
            addresses = iter(reply.addresses[1:])
            parts: list[Any] = []
            for size in reply.frames:
                if not 0 <= size <= LARGEST:
                    raise ValueError(f"a frame of {size} bytes")
                if size < messages.BULK:
                    parts.append(next(inline))
                elif reply.pid:
                    parts.append(RemoteFrame(size, reply.pid, next(addresses)))
                else:
                    chunks = ChunkedFrame(size, reply.id)
                    parts.append(chunks)
                    due += [chunks] * len(messages.chunks(size))
            self.replies.append((reply, parts))
        self._due = due[::-1]  # the frame of each chunk, the last chunk first

    @property
    def complete(self) -> bool:
        """Whether all chunks have arrived."""
        return not self._due

    def lose(self, ename: str = "ResultExpired", why: str = EXPIRED) -> None:
        """Fail the replies: their other chunks do not arrive. The controller may have dropped the chunks."""
        self._due.clear()
        for reply, parts in self.replies:
            if any(isinstance(part, ChunkedFrame) for part in parts):
                reply.status, reply.frames = "error", []
                reply.failure = messages.Failure(ename, why, "")
                parts.clear()

    def add(self, chunk: Frame) -> str:
        """Take the next chunk. Return the id of its request; an empty id if no reply waits for the chunk."""
        if self._next_place() is None:
            return ""
        frame = self._due.pop()
        frame.add(chunk)
        return frame.id

    def _next_place(self) -> np.ndarray | None:
        if self._due:
            try:
                return self._due[-1].place()
            except MemoryError:
                size = self._due[-1].size
                self.lose("MemoryError", f"the client has no room for a result of {size} bytes")
        return None
