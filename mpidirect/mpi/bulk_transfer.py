"""A piece of bulk data between the controller and an engine: by MPI, or read out of the sender's memory.

Open MPI and MPICH share no memory between processes and those that they spawned: what they send is copied
through a socket.  So where the two can read each other's memory, MPI carries only where a piece lies.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from mpi4py import MPI

from ..arrays.lazy_numpy import np
from ..memory import process_memory
from ..protocol.messages import BULK

TAG = 1  # of all bulk data: it is the order that tells what is what
_READ = 2  # a piece has been read


class Pending(Protocol):
    """A piece under way."""

    def Test(self) -> bool:
        """Get on, without waiting; whether it is complete."""


class _Row(NamedTuple):
    """What a rank tells the others of itself."""

    pid: int
    address: int  # where it has its cookie
    cookie: bytes
    node: bytes


_ROW = struct.Struct(f"qq{process_memory.COOKIE}s256s")


def neighbours(world: MPI.Intracomm) -> tuple[bool, list[int]]:
    """Whether all ranks are on one host; and their processes, if their memory can be read, else none.

    That is, the controller's by the engines, and theirs by the controller. All ranks call it together.
    Without numpy, which would take longer to import than all else here.
    """
    process_memory.permit()
    cookie = secrets.token_bytes(process_memory.COOKIE)
    kept = ctypes.create_string_buffer(cookie, len(cookie))
    node = f"{process_memory.node()} {socket.gethostname()}".encode()
    everyone = bytearray(_ROW.size * world.size)
    mine = _ROW.pack(os.getpid(), ctypes.addressof(kept), cookie, node)
    world.Allgather([mine, MPI.BYTE], [everyone, MPI.BYTE])
    rows = [_Row(*row) for row in _ROW.iter_unpack(everyone)]
    together = len({row.node for row in rows}) == 1
    others = rows[1:] if world.rank == 0 else rows[:1]
    fine = (
        together and process_memory.domain() and all(process_memory.can_read(*other[:3]) for other in others)
    )
    agreed = bytearray([bool(fine)])
    world.Allreduce(MPI.IN_PLACE, [agreed, MPI.BYTE], MPI.BAND)
    return together, [row.pid for row in rows] if agreed[0] else []


class BulkTransfer:
    """Sends pieces to other ranks, and receives them; both sides know the size of each, and their order.

    Parameters
    ----------
    comm : MPI.Intracomm
        The private communicator.
    processes : sequence of int
        The process of each rank, if their memory can be read; else empty.
    """

    def __init__(self, comm: MPI.Intracomm, processes: Sequence[int]) -> None:
        self._comm = comm
        self._processes = processes
        self._coming: dict[int, deque[_Read]] = {}  # by rank, in order

    def send(self, piece: Any, rank: int) -> Pending:
        """Begin to send a piece; it must be kept until it is out."""
        if self._is_read(piece):
            return _Told(self._comm, piece, rank)
        return self._comm.Isend([piece, MPI.BYTE], rank, TAG)

    def receive(self, piece: Any, rank: int) -> Pending:
        """Begin to receive a piece into this memory."""
        if self._is_read(piece):
            queue = self._coming.setdefault(rank, deque())
            coming = _Read(self._comm, piece, rank, self._processes[rank], queue)
            queue.append(coming)
            return coming
        return self._comm.Irecv([piece, MPI.BYTE], rank, TAG)

    def _is_read(self, piece: Any) -> bool:
        return bool(self._processes) and memoryview(piece).nbytes >= BULK


class _Told:
    """The other side is told where a piece lies, and tells when it has read it."""

    def __init__(self, comm: MPI.Intracomm, piece: Any, rank: int) -> None:
        self._where = np.array([process_memory.address(piece)], np.int64)
        self._read = bytearray(1)
        self._requests = [
            comm.Irecv([self._read, MPI.BYTE], rank, _READ),
            comm.Isend([self._where, MPI.INT64_T], rank, TAG),
        ]

    def Test(self) -> bool:
        return bool(MPI.Request.Testall(self._requests))


class _Read:
    """A piece that is read as soon as the other side has told where it lies.

    The pieces of a rank are read in order: the other side can't tell the words apart that say so.
    """

    def __init__(self, comm: MPI.Intracomm, piece: Any, rank: int, process: int, queue: deque[_Read]) -> None:
        self._comm, self._piece, self._rank, self._process = comm, piece, rank, process
        self._queue = queue
        self._where = np.empty(1, np.int64)
        self._request = comm.Irecv([self._where, MPI.INT64_T], rank, TAG)
        self._status = MPI.Status()
        self._told: MPI.Request | None = None

    def Test(self) -> bool:
        if self._queue and self._queue[0]._has_read():
            self._queue.popleft()
        return self._told is not None and self._told.Test()

    def _has_read(self) -> bool:
        if not self._request.Test(self._status):
            return False
        if not self._status.Get_count(MPI.BYTE):  # an empty message in its place: the piece will not come
            self._told = MPI.REQUEST_NULL
            return True
        process_memory.read(self._process, int(self._where[0]), self._piece)
        self._told = self._comm.Isend([b"\0", MPI.BYTE], self._rank, _READ)
        return True
