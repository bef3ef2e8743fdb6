"""Arrays as what MPI moves: bytes, in pieces that every MPI can count."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from mpi4py import MPI

PIECE = 1 << 30  # bytes or elements in one operation: MPI counts with 31 bits


def moves_by_buffer(value: Any) -> bool:
    """Whether `value` is an array whose bytes say all: no subclass, no objects in it."""
    return type(value) is np.ndarray and bool(dtype_text(value.dtype))


@lru_cache(256)
def dtype_text(dtype: np.dtype) -> str:
    """`dtype` as text from which `dtype_of` makes it again; empty where that is not possible.

    Equal dtypes have equal texts in every process, which is not true of their pickles.
    """
    if dtype.hasobject or dtype.metadata or not getattr(type(dtype), "_legacy", True):
        return ""
    try:
        text = repr(np.lib.format.dtype_to_descr(dtype))
        return text if dtype_of(text) == dtype else ""
    except ValueError:  # fields that overlap
        return ""


@lru_cache(256)
def dtype_of(text: str) -> np.dtype:
    """The dtype of a text of `dtype_text`."""
    return np.lib.format.descr_to_dtype(ast.literal_eval(text))


def form_of(value: Any) -> str:
    """What errors say of a value: ``float64[3, 4]``, or the name of its type.

    Examples
    --------
    >>> form_of(np.zeros((3, 4))), form_of([1, 2])
    ('float64[3, 4]', 'list')
    """
    if isinstance(value, np.ndarray):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    return type(value).__name__


def as_bytes(array: np.ndarray) -> np.ndarray:
    """The memory of a contiguous array, as bytes."""
    if not array.nbytes:
        return np.empty(0, np.uint8)
    return array.reshape(-1).view(np.uint8)


def pieces(buffer: Any) -> Iterator[list[Any]]:
    """A buffer of bytes cut to what one operation can move; nothing of an empty one."""
    for start in range(0, len(buffer), PIECE):
        yield [buffer[start : start + PIECE], MPI.BYTE]


def send(comm: MPI.Intracomm, buffer: Any, to: int, tag: int) -> list[MPI.Request]:
    """Begin to send bytes."""
    return [comm.Isend(piece, to, tag) for piece in pieces(buffer)]


def receive(comm: MPI.Intracomm, buffer: Any, source: int, tag: int) -> list[MPI.Request]:
    """Begin to receive bytes."""
    return [comm.Irecv(piece, source, tag) for piece in pieces(buffer)]


def bcast(comm: MPI.Intracomm, buffers: Sequence[Any], root: int) -> list[MPI.Request]:
    """Begin to broadcast buffers of bytes."""
    return [comm.Ibcast(piece, root) for buffer in buffers for piece in pieces(buffer)]


def allgather(comm: MPI.Intracomm, mine: Any, whole: np.ndarray, counts: Sequence[int]) -> list[MPI.Request]:
    """Begin to put everyone's bytes into `whole`, one after the other.

    Parameters
    ----------
    mine : buffer
        ``counts[comm.rank]`` bytes.
    whole : array of uint8, shape (sum(counts),)
        Is written to.
    """
    starts = [0, *np.cumsum(counts, dtype=np.int64).tolist()]
    if starts[-1] <= PIECE:
        return [comm.Iallgatherv([mine, MPI.BYTE], [whole, (list(counts), starts[:-1]), MPI.BYTE])]
    parts = [whole[a:b] for a, b in pairwise(starts)]
    parts[comm.rank][:] = mine
    return [request for root, part in enumerate(parts) for request in bcast(comm, [part], root)]
