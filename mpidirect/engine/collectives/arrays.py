"""Arrays in MPI operations: as bytes, in pieces that every MPI can count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Union

import numpy as np
from mpi4py import MPI

from ...arrays.kinds import NUMPY, Kind
from .staging import StagedTransfer, TransferStep, spans, through_host

PIECE = 1 << 30  # Bytes or elements of one operation: MPI counts with 31 bits.

Operation = Union[MPI.Request, StagedTransfer]


def pieces(buffer: Any) -> Iterator[list[Any]]:
    """Cut a buffer of bytes into pieces for one operation each; an empty buffer has no piece."""
    for start in range(0, len(buffer), PIECE):
        yield [buffer[start : start + PIECE], MPI.BYTE]


def send(comm: MPI.Intracomm, buffer: Any, to: int, tag: int, kind: Kind = NUMPY) -> list[Operation]:
    """Begin to send bytes."""
    if through_host(kind, collective=False):
        return [StagedTransfer(kind, _steps(buffer, lambda piece: comm.Isend(piece, to, tag), sends=True))]
    kind.synchronize()
    return [comm.Isend(piece, to, tag) for piece in pieces(buffer)]


def receive(comm: MPI.Intracomm, buffer: Any, source: int, tag: int, kind: Kind = NUMPY) -> list[Operation]:
    """Begin to receive bytes."""
    if through_host(kind, collective=False):
        return [
            StagedTransfer(kind, _steps(buffer, lambda piece: comm.Irecv(piece, source, tag), sends=False))
        ]
    kind.synchronize()
    return [comm.Irecv(piece, source, tag) for piece in pieces(buffer)]


def bcast(comm: MPI.Intracomm, buffers: Sequence[Any], root: int, kind: Kind = NUMPY) -> list[Operation]:
    """Begin to broadcast buffers of bytes."""
    if through_host(kind):
        return [StagedTransfer(kind, _bcast_steps(comm, [(buffer, root) for buffer in buffers]))]
    kind.synchronize()
    return [comm.Ibcast(piece, root) for buffer in buffers for piece in pieces(buffer)]


def allgather(
    comm: MPI.Intracomm, own: Any, whole: Any, counts: Sequence[int], kind: Kind = NUMPY
) -> list[Operation]:
    """Begin to gather the bytes of all ranks into `whole`, in the order of the ranks.

    Parameters
    ----------
    own : flat bytes
        The bytes of this rank: ``counts[comm.rank]``.
    whole : flat bytes
        Memory for the bytes of all ranks. This is written to.
    """
    starts = [0, *np.cumsum(counts, dtype=np.int64).tolist()]
    staged = through_host(kind)
    if starts[-1] <= PIECE and not staged:
        kind.synchronize()
        return [comm.Iallgatherv([own, MPI.BYTE], [whole, (list(counts), starts[:-1]), MPI.BYTE])]
    parts = [whole[a:b] for a, b in pairwise(starts)]
    parts[comm.rank][:] = own
    if staged:
        return [StagedTransfer(kind, _bcast_steps(comm, [(part, root) for root, part in enumerate(parts)]))]
    return [request for root, part in enumerate(parts) for request in bcast(comm, [part], root, kind)]


def _steps(buffer: Any, begin: Any, sends: bool) -> Iterator[TransferStep]:
    for span in spans(len(buffer)):
        part = buffer[span]
        yield TransferStep(
            len(part), lambda piece: begin([piece, MPI.BYTE]), *((part, None) if sends else (None, part))
        )


def _bcast_steps(comm: MPI.Intracomm, parts: Sequence[tuple[Any, int]]) -> Iterator[TransferStep]:
    for buffer, root in parts:
        yield from _steps(buffer, partial(comm.Ibcast, root=root), sends=root == comm.rank)
