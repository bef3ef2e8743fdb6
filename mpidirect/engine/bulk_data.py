"""Bulk data between the controller and this engine: MPI, waiting in a way that can be left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mpi4py import MPI

from ..arrays.lazy_numpy import np
from ..memory import process_memory
from ..memory.buffer_pool import BufferPool
from ..mpi.bulk_transfer import BulkTransfer, Pending
from ..protocol.messages import BULK, CHUNK, chunks

CONTROLLER = 0
_EAGER = 200  # tests in a row before the first pause
_PAUSES = (0.0, 50e-6, 1e-3)


Room = Callable[[int], Any]  # gives memory of a size to receive into


class Incomplete(OSError):
    """The rest of a task's data will not come."""


def wait(requests: Sequence[Pending], hopeless: Callable[[], bool] = bool) -> bool:
    """Wait for `requests`: test, then yield, then sleep, so that signal handlers run in between.

    Returns False, with requests that go on, if `hopeless` becomes true before.
    """
    tries = 0
    while not all(request.Test() for request in requests):
        if hopeless():
            return False
        tries += 1
        time.sleep(_PAUSES[min(tries // _EAGER, len(_PAUSES) - 1)])
    return True


def rooms(sizes: Sequence[int], inline: Iterator[Any], room: Room) -> list[Any]:
    """The small frames of a task, and memory for the bulk ones."""
    return [room(size) if size >= BULK else next(inline) for size in sizes]


class DiscardedFrame:
    """In the place of memory for a frame for which there is none: what is received there is lost."""

    def __init__(self, size: int, scratch: np.ndarray) -> None:
        self._size = size
        self._scratch = scratch

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> np.ndarray:
        return self._scratch[: part.stop - part.start]


def nowhere(sizes: Sequence[int]) -> list[Any]:
    """Such for the bulk frames of these sizes, and nothing for the small ones."""
    scratch = np.empty(min(CHUNK, max(sizes)), np.uint8)
    return [DiscardedFrame(size, scratch) if size >= BULK else b"" for size in sizes]


private = BufferPool()  # memory that the user's arrays will own


def _bulk(frames: Sequence[Any]) -> list[Any]:
    return [frame for frame in frames if len(frame) >= BULK]


def receive(pieces: BulkTransfer, frames: Sequence[Any]) -> None:
    """Fill the bulk ones of `frames` with what the controller sends to this engine."""
    requests = [
        pieces.receive(frame[start:stop], CONTROLLER)
        for frame in _bulk(frames)
        for start, stop in chunks(len(frame))
    ]
    wait(requests)


def check_seal(pieces: BulkTransfer) -> None:
    """Receive the byte behind the bulk; raises `Incomplete` if it says that the client vanished."""
    seal = np.zeros(1, np.uint8)
    wait([pieces.receive(seal, CONTROLLER)])
    if not seal[0]:
        raise Incomplete("the client vanished before its data had arrived")


def fetch(pid: int, addresses: Sequence[int], frames: Sequence[Any]) -> None:
    """Fill the bulk ones of `frames` from the memory of the client's process."""
    for frame, address in zip(_bulk(frames), addresses, strict=True):
        process_memory.read(pid, address, frame)


class BroadcastReceiver:
    """Receives what all engines get, by a collective with the controller as its root.

    Parameters
    ----------
    comm : MPI.Comm or None
        Controller and engines, for this purpose alone: with the first death it is given up.
    """

    def __init__(self, comm: MPI.Comm | None) -> None:
        self._comm = comm
        self._abandoned: list[Any] = []  # MPI may still write there
        self.broken = False

    def receive(self, frames: Sequence[Any]) -> bool:
        """Fill the bulk ones of `frames`; False if the collective broke."""
        assert self._comm is not None
        bulk = _bulk(frames)
        requests = []
        try:
            for frame in bulk:
                for start, stop in chunks(len(frame)):
                    requests.append(self._comm.Ibcast([frame[start:stop], MPI.BYTE], CONTROLLER))
            complete = wait(requests, lambda: self.broken)
        except MPI.Exception:  # fault-tolerant MPIs tell of the death themselves
            complete = False
        if not complete:
            self._abandoned.append((requests, bulk))
        return complete


def send(pieces: BulkTransfer, frames: Sequence[Any]) -> None:
    """Send the bulk ones of `frames` to the controller."""
    views = [memoryview(frame).cast("B") for frame in _bulk(frames)]
    wait([pieces.send(view[start:stop], CONTROLLER) for view in views for start, stop in chunks(view.nbytes)])
