"""Data of devices (GPUs) in MPI operations: in pieces through the host, if MPI can't read the devices."""

from __future__ import annotations

import ctypes
import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

from ...arrays.kinds import Kind

PIECE_SIZE = 4 << 20  # Bytes.
DEPTH = 3  # Pieces of a transfer under way: one piece is copied while MPI moves others.
_POOL_SIZE = 8  # Buffers on the host that are kept for each kind of array.

_free: dict[str, list[np.ndarray]] = {}


class TransferStep(NamedTuple):
    """One piece of a transfer.

    Attributes
    ----------
    size : int
        The bytes of the piece.
    begin : callable
        Begins the MPI operation on a buffer on the host.
    source, target : flat bytes or None
        Device memory that is copied to the buffer before, or from the buffer afterwards.
    """

    size: int
    begin: Callable[[np.ndarray], MPI.Request]
    source: Any = None
    target: Any = None


class StagedTransfer:
    """A transfer through the host.

    Collective operations must be steps of one transfer, as all ranks must call them in one order.

    Parameters
    ----------
    kind : Kind
        The kind of the arrays.
    steps : iterable of TransferStep
        The steps in their order.
    """

    def __init__(self, kind: Kind, steps: Iterable[TransferStep]) -> None:
        self._kind = kind
        self._steps: Iterator[TransferStep] = iter(steps)
        self._under_way: deque[tuple[MPI.Request, np.ndarray, TransferStep]] = deque()
        self._all_begun = False

    def done(self) -> bool:
        """Continue as far as possible without waiting; return whether the transfer has ended."""
        kind = self._kind
        while True:
            if not self._all_begun and len(self._under_way) < DEPTH:
                step = next(self._steps, None)
                if step is None:
                    self._all_begun = True
                    continue
                memory = _take(kind)
                if step.source is not None:
                    kind.get(step.source, memory[: step.size])
                self._under_way.append((step.begin(memory[: step.size]), memory, step))
            elif self._under_way and self._under_way[0][0].Test():
                _, memory, step = self._under_way.popleft()
                if step.target is not None:
                    kind.put(step.target, memory[: step.size])
                _give_back(kind, memory)
            else:
                return not self._under_way

    def pending(self) -> tuple[list[MPI.Request], list[np.ndarray]]:
        """Return the requests under way, and the buffers that they use."""
        return [request for request, _, _ in self._under_way], [memory for _, memory, _ in self._under_way]


def _take(kind: Kind) -> np.ndarray:
    free = _free.get(kind.name)
    return free.pop() if free and len(free[-1]) == PIECE_SIZE else kind.pinned(PIECE_SIZE)


def _give_back(kind: Kind, memory: np.ndarray) -> None:
    free = _free.setdefault(kind.name, [])
    if len(free) < _POOL_SIZE and len(memory) == PIECE_SIZE:
        free.append(memory)


def spans(size: int, unit: int = 1) -> Iterator[slice]:
    """Return the positions that cut `size` bytes into pieces of whole elements of `unit` bytes."""
    step = max(PIECE_SIZE // unit, 1) * unit
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def through_host(kind: Kind, collective: bool = True) -> bool:
    """Return whether arrays of this kind must go through the host, in a collective or point to point."""
    return kind.on_device and not reads_devices(kind.platform, collective)


@functools.cache
def reads_devices(platform: str, collective: bool) -> bool:
    """Return whether MPI reads memory of these devices, in non-blocking collectives or point to point.

    MPI itself tells this. By its documentation, Open MPI's non-blocking collectives do not read devices.
    """
    library = ctypes.CDLL(MPI.__file__)  # Finds the functions of MPI's library.
    asked = {"cuda": ("cuda",), "rocm": ("rocm", "hip")}.get(platform, ())
    is_supported = any(_query(library, f"MPIX_Query_{name}_support") for name in asked)
    return is_supported and not (collective and "Open MPI" in MPI.Get_library_version())


def _query(library: ctypes.CDLL, function: str) -> bool:
    try:
        query = getattr(library, function)
    except AttributeError:  # This MPI has no such function.
        return False
    return bool(query() == 1)
