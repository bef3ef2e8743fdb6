"""Bulk data between the controller and an engine: by MPI, or read out of the sender's memory.

Open MPI and MPICH share no memory between processes and their spawned children: data goes through a socket.
So where the two processes can read each other's memory, MPI carries only the address of a piece.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mpi4py import MPI

from ..arrays.lazy_numpy import np
from ..memory import process_memory
from ..protocol.frames import Frame
from ..protocol.messages import BULK

TAG = 1  # The tag of all bulk data; the order distinguishes the pieces.
_READ_TAG = 2  # The tag of messages that report that a piece has been read.


class Pending(Protocol):
    """A transfer under way."""

    def Test(self) -> bool:
        """Make progress without waiting; return whether the transfer is complete."""


class _RankInfo(NamedTuple):
    """The description of a rank for the others."""

    pid: int
    address: int  # The address of the cookie in the rank's memory.
    cookie: bytes
    node: bytes


_RANK_INFO = struct.Struct(f"qq{process_memory.COOKIE}s256s")


def neighbours(world: MPI.Intracomm) -> tuple[bool, list[int]]:
    """Find out whether all ranks share a host and can read each other's memory; all ranks call this together.

    Numpy is not used: its import would take longer than this function.

    Returns
    -------
    one_host : bool
        Whether all ranks are on one host.
    processes : list of int
        The process of each rank, if the controller can read the memory of all engines, and each engine the
        controller's memory; otherwise empty.
    """
    process_memory.permit()
    cookie = secrets.token_bytes(process_memory.COOKIE)
    kept = ctypes.create_string_buffer(cookie, len(cookie))
    node = f"{process_memory.node()} {socket.gethostname()}".encode()
    gathered = bytearray(_RANK_INFO.size * world.size)
    own = _RANK_INFO.pack(os.getpid(), ctypes.addressof(kept), cookie, node)
    world.Allgather([own, MPI.BYTE], [gathered, MPI.BYTE])
    rows = [_RankInfo(*row) for row in _RANK_INFO.iter_unpack(gathered)]
    one_host = len({row.node for row in rows}) == 1
    others = rows[1:] if world.rank == 0 else rows[:1]
    can_read = (
        one_host and process_memory.domain() and all(process_memory.can_read(*other[:3]) for other in others)
    )
    agreed = bytearray([bool(can_read)])
    world.Allreduce(MPI.IN_PLACE, [agreed, MPI.BYTE], MPI.BAND)
    return one_host, [row.pid for row in rows] if agreed[0] else []


class BulkTransfer:
    """Sends pieces to other ranks, and receives pieces. Both sides know the sizes and the order.

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
        self._incoming: dict[int, deque[_DirectReceive]] = {}  # By rank, in order.

    def send(self, piece: Frame, rank: int) -> Pending:
        """Begin to send a piece, which must not change until the transfer is complete."""
        if self._is_direct(piece):
            return _DirectSend(self._comm, piece, rank)
        return self._comm.Isend([piece, MPI.BYTE], rank, TAG)

    def receive(self, piece: Frame, rank: int) -> Pending:
        """Begin to receive a piece into the memory of `piece`."""
        if self._is_direct(piece):
            queue = self._incoming.setdefault(rank, deque())
            incoming = _DirectReceive(self._comm, piece, rank, self._processes[rank], queue)
            queue.append(incoming)
            return incoming
        return self._comm.Irecv([piece, MPI.BYTE], rank, TAG)

    def _is_direct(self, piece: Frame) -> bool:
        return bool(self._processes) and memoryview(piece).nbytes >= BULK


class _DirectSend:
    """Sends the address of a piece, and receives a message when the other side has read the piece."""

    def __init__(self, comm: MPI.Intracomm, piece: Frame, rank: int) -> None:
        self._address = np.array([process_memory.address(piece)], np.int64)
        self._read = bytearray(1)
        self._requests = [
            comm.Irecv([self._read, MPI.BYTE], rank, _READ_TAG),
            comm.Isend([self._address, MPI.INT64_T], rank, TAG),
        ]

    def Test(self) -> bool:
        return bool(MPI.Request.Testall(self._requests))


class _DirectReceive:
    """Reads a piece as soon as its address has arrived.

    The pieces of a rank are read in order, because the messages about read pieces do not name a piece.
    """

    def __init__(
        self, comm: MPI.Intracomm, piece: Frame, rank: int, process: int, queue: deque[_DirectReceive]
    ) -> None:
        self._comm, self._piece, self._rank, self._process = comm, piece, rank, process
        self._queue = queue
        self._address = np.empty(1, np.int64)
        self._request = comm.Irecv([self._address, MPI.INT64_T], rank, TAG)
        self._status = MPI.Status()
        self._confirmation: MPI.Request | None = None

    def Test(self) -> bool:
        if self._queue and self._queue[0]._has_read():
            self._queue.popleft()
        return self._confirmation is not None and self._confirmation.Test()

    def _has_read(self) -> bool:
        """Read the piece if its address has arrived; return whether it is read."""
        if not self._request.Test(self._status):
            return False
        if not self._status.Get_count(MPI.BYTE):  # An empty message: the piece will not arrive.
            self._confirmation = MPI.REQUEST_NULL
            return True
        process_memory.read(self._process, int(self._address[0]), self._piece)
        self._confirmation = self._comm.Isend([b"\0", MPI.BYTE], self._rank, _READ_TAG)
        return True
