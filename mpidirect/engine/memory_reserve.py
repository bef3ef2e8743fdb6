"""Memory that is reserved if the process has a memory limit (``ulimit -v``, a batch system's).

A task that uses all memory, or leaves all memory used, fails with a MemoryError. With the reserve, the engine
can still report the error and take the next task, which may free memory.
"""

from __future__ import annotations

import mmap
import resource
from collections.abc import Sequence

SIZES = [16 << 20, 4 << 20, 1 << 20]  # Bytes of address space, never written to.
_FOR_MPI = 16 << 20  # Bytes that communicators take at most: MPI's few, and the stack of a thread.
_LIMITS = [resource.RLIMIT_AS, resource.RLIMIT_DATA]
_NONE = resource.RLIM_INFINITY


class MemoryReserve:
    """Memory that is kept until the engine needs it.

    Parameters
    ----------
    sizes : sequence of int
        The sizes that it may have, the best one first.
    beside : float
        The part of its size that must be free beside it.
    """

    def __init__(self, sizes: Sequence[int] = SIZES, beside: float = 1.0) -> None:
        self._sizes, self._beside = sizes, beside
        self._reserve: mmap.mmap | None = None
        self.renew()

    def renew(self) -> None:
        """Keep memory back again after a task, or release it if the task has left none for the engine."""
        if not memory_limit():
            return
        if self._reserve is None:
            size = next((size for size in self._sizes if _is_free(int(size * (1 + self._beside)))), 0)
            self._reserve = mmap.mmap(-1, size) if size else None
        elif not _is_free(len(self._reserve) // 2):
            self.release()

    def release(self) -> bool:
        """Free the reserve; return whether there was any."""
        if self._reserve is None:
            return False
        self._reserve.close()
        self._reserve = None
        return True


class CommunicatorReserve(MemoryReserve):
    """Memory for the making of communicators: where MPI finds none, the process ends by SIGSEGV."""

    def __init__(self) -> None:
        super().__init__([_FOR_MPI + (extra << 20) for extra in (24, 16, 8, 0)], beside=0.125)

    def is_enough(self) -> bool:
        """Release the reserve; return whether MPI has enough memory now."""
        self.release()
        return not memory_limit() or _is_free(_FOR_MPI)


def _is_free(size: int) -> bool:
    try:
        mmap.mmap(-1, size).close()
    except (OSError, MemoryError):
        return False
    return True


def memory_limit() -> str:
    """Return the memory limit of this process as the end of an error text; empty without a limit."""
    found = [n for n in (resource.getrlimit(limit)[0] for limit in _LIMITS) if n != _NONE]
    return f": this process may have {min(found):,} bytes (ulimit -v)" if found else ""
