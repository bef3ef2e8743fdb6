"""Bulk data between the controller and this engine; the waits for it can be left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mpi4py import MPI

from ..arrays.lazy_numpy import np
from ..memory import process_memory
from ..memory.buffer_pool import BufferPool
from ..mpi.bulk_transfer import BulkTransfer, Pending
from ..protocol.frames import Frame
from ..protocol.messages import BULK, CHUNK, chunks

CONTROLLER = 0
TESTS_PER_PAUSE = 200  # Tests in a row before the pause becomes longer.
PAUSES = (0.0, 50e-6, 1e-3)  # Seconds between two tests.

pool = BufferPool()  # Memory that arrays of user code will own.


class Incomplete(OSError):
    """The remaining data of a task will not arrive."""


REPORT_DELAY = 1.0  # Seconds after which reports on the arrival of a task's data begin.
REPORT_INTERVAL = 0.5  # Seconds between two reports.


class Arrival:
    """Counts the bytes of a task's data, and reports them if the data takes long.

    Parameters
    ----------
    report : callable
        Called with the number of bytes that have arrived.
    """

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        self._moved = 0
        self._due = time.monotonic() + REPORT_DELAY

    def add(self, size: int) -> None:
        """Note that a piece has arrived."""
        self._moved += size
        now = time.monotonic()
        if now >= self._due:
            self._due = now + REPORT_INTERVAL
            self._report(self._moved)


def wait(
    requests: Sequence[Pending],
    is_hopeless: Callable[[], bool] = bool,
    arrived: Callable[[int], object] = bool,
) -> bool:
    """Wait for `requests` by tests, so that signal handlers run in between.

    Parameters
    ----------
    requests : sequence
        The requests under way.
    is_hopeless : callable
        Returns whether the wait is given up.
    arrived : callable
        Called with the index of each completed request, in order.

    Returns
    -------
    bool
        False if the wait was given up. Then the requests continue.
    """
    tests = complete = 0
    while True:
        while complete < len(requests) and requests[complete].Test():
            arrived(complete)
            complete += 1
        if complete == len(requests):
            return True
        if is_hopeless():
            return False
        tests += 1
        time.sleep(PAUSES[min(tests // TESTS_PER_PAUSE, len(PAUSES) - 1)])


def allocate_bulk(sizes: Sequence[int], inline: Iterator[Any], allocate: Callable[[int], Any]) -> list[Frame]:
    """Return the frames of a task: the inline frames, and memory for the bulk frames.

    Parameters
    ----------
    sizes : sequence of int
        The bytes of each frame.
    inline : iterator
        The inline frames.
    allocate : callable
        Returns memory of a size.
    """
    return [allocate(size) if size >= BULK else next(inline) for size in sizes]


class DiscardedFrame:
    """Replaces a frame for which there is no memory: the received data is discarded.

    Parameters
    ----------
    size : int
        The bytes of the frame.
    scratch : ndarray
        Memory for one chunk, which all chunks overwrite.
    """

    def __init__(self, size: int, scratch: np.ndarray) -> None:
        self._size = size
        self._scratch = scratch

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> np.ndarray:
        return self._scratch[: part.stop - part.start]


def discarded_frames(sizes: Sequence[int]) -> list[Any]:
    """Return frames of these sizes whose bulk data is discarded; inline frames are empty."""
    scratch = np.empty(min(CHUNK, max(sizes)), np.uint8)
    return [DiscardedFrame(size, scratch) if size >= BULK else b"" for size in sizes]


def _bulk(frames: Sequence[Frame]) -> list[Frame]:
    return [frame for frame in frames if len(frame) >= BULK]


def receive(transfer: BulkTransfer, frames: Sequence[Frame], arrival: Arrival) -> None:
    """Receive the bulk frames of `frames` from the controller, into their memory."""
    pieces = _pieces(frames)
    requests = [transfer.receive(piece, CONTROLLER) for piece in pieces]
    wait(requests, arrived=lambda k: arrival.add(len(pieces[k])))


def _pieces(frames: Sequence[Frame]) -> list[Frame]:
    """Return the pieces of the bulk frames of `frames`, in the order of the transfer."""
    return [frame[start:stop] for frame in _bulk(frames) for start, stop in chunks(len(frame))]


def check_seal(transfer: BulkTransfer) -> None:
    """Receive the byte after the bulk data, which tells whether the data is complete.

    Raises
    ------
    Incomplete
        If the client vanished, or aborted the call, before all data had arrived.
    """
    seal = np.zeros(1, np.uint8)
    wait([transfer.receive(seal, CONTROLLER)])
    if not seal[0]:
        raise Incomplete("the client vanished, or aborted the call, before its data had arrived")


def read_client(
    pid: int,
    addresses: Sequence[int],
    frames: Sequence[Frame],
    arrival: Arrival,
    is_aborted: Callable[[], bool],
) -> None:
    """Read the bulk frames of `frames` out of the memory of the client's process, into their memory.

    Raises
    ------
    Incomplete
        If the task is aborted meanwhile.
    """

    def moved(size: int) -> None:
        arrival.add(size)
        if is_aborted():
            raise Incomplete("the task was aborted before its data had arrived")

    for frame, address in zip(_bulk(frames), addresses, strict=True):
        process_memory.read(pid, address, frame, moved)


class BroadcastReceiver:
    """Receives data for all engines, by a collective with the controller as its root.

    Parameters
    ----------
    comm : MPI.Comm or None
        The communicator of controller and engines for this purpose alone; it is given up at the first death.
    """

    def __init__(self, comm: MPI.Comm | None) -> None:
        self._comm = comm
        self._abandoned: list[Any] = []  # Requests and their memory: MPI may still write there.
        self.broken = False  # Whether an engine died. The control thread sets this.

    def receive(self, frames: Sequence[Frame], arrival: Arrival) -> bool:
        """Receive the bulk frames of `frames` into their memory; return False if the collective broke."""
        assert self._comm is not None
        pieces, requests = _pieces(frames), []
        try:
            for piece in pieces:
                requests.append(self._comm.Ibcast([piece, MPI.BYTE], CONTROLLER))
            complete = wait(requests, lambda: self.broken, lambda k: arrival.add(len(pieces[k])))
        except MPI.Exception:  # A fault-tolerant MPI reports the death itself.
            complete = False
        if not complete:
            self._abandoned.append((requests, pieces))
        return complete


def send(transfer: BulkTransfer, frames: Sequence[Frame]) -> None:
    """Send the bulk frames of `frames` to the controller."""
    views = [memoryview(frame).cast("B") for frame in _bulk(frames)]
    wait(
        [transfer.send(view[start:stop], CONTROLLER) for view in views for start, stop in chunks(view.nbytes)]
    )
