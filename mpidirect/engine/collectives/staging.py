"""Data of devices on its way through MPI: straight where MPI takes it, else through the host, in pieces."""

from __future__ import annotations

import ctypes
import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

from ...arrays.kinds import Kind

SIZE = 4 << 20  # bytes of one piece
DEPTH = 3  # pieces of one transfer that are on their way: one is copied while others travel
_KEPT = 8  # pieces of memory that are kept for each kind

_free: dict[str, list[np.ndarray]] = {}


class TransferStep(NamedTuple):
    """One piece of a transfer.

    Attributes
    ----------
    size : int
        Its bytes.
    begin : callable
        Begins the MPI operation, with the piece's memory on the host.
    source, target : flat bytes or None
        What is copied there before, and where to it is copied after.
    """

    size: int
    begin: Callable[[np.ndarray], MPI.Request]
    source: Any = None
    target: Any = None


class StagedTransfer:
    """A transfer through the host.

    Collective operations must be steps of one transfer, as their order counts.

    Parameters
    ----------
    kind : Kind
        Of the arrays.
    steps : iterable of Step
        In order.
    """

    def __init__(self, kind: Kind, steps: Iterable[TransferStep]) -> None:
        self._kind = kind
        self._steps: Iterator[TransferStep] = iter(steps)
        self._under_way: deque[tuple[MPI.Request, np.ndarray, TransferStep]] = deque()
        self._begun = False  # whether all steps have

    def done(self) -> bool:
        """Go on with it as far as possible without waiting; whether it has ended."""
        kind = self._kind
        while True:
            if not self._begun and len(self._under_way) < DEPTH:
                step = next(self._steps, None)
                if step is None:
                    self._begun = True
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
        """What MPI is still to do, and the memory that it uses for that."""
        return [request for request, _, _ in self._under_way], [memory for _, memory, _ in self._under_way]


def _take(kind: Kind) -> np.ndarray:
    free = _free.get(kind.name)
    return free.pop() if free and len(free[-1]) == SIZE else kind.pinned(SIZE)


def _give_back(kind: Kind, memory: np.ndarray) -> None:
    free = _free.setdefault(kind.name, [])
    if len(free) < _KEPT and len(memory) == SIZE:
        free.append(memory)


def spans(size: int, unit: int = 1) -> Iterator[slice]:
    """Where so many bytes are cut to pieces, in whole elements of `unit` bytes."""
    step = max(SIZE // unit, 1) * unit
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def through_host(kind: Kind, collective: bool = True) -> bool:
    """Whether arrays of this kind have to go through the host, in a collective or point to point."""
    return kind.on_device and not takes(kind.platform, collective)


@functools.cache
def takes(platform: str, collective: bool) -> bool:
    """Whether MPI takes memory of such devices, in its non-blocking collectives or point to point.

    It says so itself. Open MPI's non-blocking collectives don't, as its documentation says.
    """
    library = ctypes.CDLL(MPI.__file__)  # finds what MPI's library has
    asked = {"cuda": ("cuda",), "rocm": ("rocm", "hip")}.get(platform, ())
    found = any(_says_yes(library, f"MPIX_Query_{name}_support") for name in asked)
    return found and not (collective and "Open MPI" in MPI.Get_library_version())


def _says_yes(library: ctypes.CDLL, function: str) -> bool:
    try:
        ask = getattr(library, function)
    except AttributeError:  # this MPI knows nothing of that
        return False
    return ask() == 1
