"""Memory that is kept back where the process has a memory limit (``ulimit -v``, a batch system's).

A task that uses all memory, or leaves all memory used, fails with a MemoryError. With the reserve, the engine
can still report the error and take the next task, which may free memory.
"""

from __future__ import annotations

import mmap
import resource

SIZES = [16 << 20, 4 << 20, 1 << 20]  # Bytes of address space. Nobody writes there.
_LIMITS = [resource.RLIMIT_AS, resource.RLIMIT_DATA]
_NONE = resource.RLIM_INFINITY


class MemoryReserve:
    """Memory that is kept until the engine needs it."""

    def __init__(self) -> None:
        self._reserve: mmap.mmap | None = None
        self.renew()

    def renew(self) -> None:
        """Keep memory back again after a task, or release it if the task has left none for the engine."""
        if all(resource.getrlimit(limit)[0] == _NONE for limit in _LIMITS):
            return
        if self._reserve is None:
            size = next((size for size in SIZES if _is_free(2 * size)), 0)
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
