"""Memory that is kept back where the process has a limit of it (``ulimit -v``, a batch system's).

A task that uses up all, or leaves it used up, fails with a MemoryError. With the reserve, the engine can
still say so, and take the next task, which may let go of something.
"""

from __future__ import annotations

import mmap
import resource

SIZES = [16 << 20, 4 << 20, 1 << 20]  # bytes, of address space alone: nobody writes there
_LIMITS = [resource.RLIMIT_AS, resource.RLIMIT_DATA]
_NONE = resource.RLIM_INFINITY


class MemoryReserve:
    """Some memory, until it is needed."""

    def __init__(self) -> None:
        self._kept: mmap.mmap | None = None
        self.look()

    def look(self) -> None:
        """After a task: have the engine's own work find room, whatever the task has left."""
        if all(resource.getrlimit(limit)[0] == _NONE for limit in _LIMITS):
            return
        if self._kept is None:
            size = next((size for size in SIZES if _is_free(2 * size)), 0)
            self._kept = mmap.mmap(-1, size) if size else None
        elif not _is_free(len(self._kept) // 2):
            self.release()

    def release(self) -> bool:
        """Let it be used; whether there was any."""
        if self._kept is None:
            return False
        self._kept.close()
        self._kept = None
        return True


def _is_free(size: int) -> bool:
    try:
        mmap.mmap(-1, size).close()
    except (OSError, MemoryError):
        return False
    return True


def limit() -> str:
    """The limit of memory that this process has, in words; empty without one."""
    found = [n for n in (resource.getrlimit(limit)[0] for limit in _LIMITS) if n != _NONE]
    return f": this process may have {min(found):,} bytes (ulimit -v)" if found else ""
