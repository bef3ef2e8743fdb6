"""One copy of an array for all engines of a node: memory that they map, read-only.

The memory has no name (Linux `memfd_create`): the kernel frees it when the last engine that maps it lets go,
however that engine ends.  One engine of the node receives the data into it; the others open it through that
engine's ``/proc`` entry, which only the same user can.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Sequence
from typing import Any

from ..arrays.lazy_numpy import np
from ..serialize import pickles

EXPIRY = 300.0  # seconds after which shared memory that nobody has claimed is given up


class SharedMemory:
    """Memory that this engine has received for its node, until all engines there have mapped it."""

    def __init__(self) -> None:
        self._receiving: list[tuple[int, np.ndarray]] = []
        self._open: dict[str, tuple[float, list[int]]] = {}

    def allocate(self, size: int) -> np.ndarray:
        """Memory to receive a bulk frame into."""
        descriptor = os.memfd_create("mpidirect", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, size)
            array = np.frombuffer(mmap.mmap(descriptor, size), np.uint8)
        except BaseException:  # there is no room
            os.close(descriptor)
            raise
        self._receiving.append((descriptor, array))
        return array

    def keep(self, key: str) -> tuple[int, list[int]]:
        """What was received last, as this process and its file descriptors."""
        descriptors = [descriptor for descriptor, _ in self._receiving]
        self._receiving.clear()
        self._open[key] = time.monotonic(), descriptors
        return os.getpid(), descriptors

    def close(self, keys: Sequence[str]) -> None:
        """All engines have mapped these; the memory now lives as long as they use it."""
        for key in keys:
            for descriptor in self._open.pop(key, (0.0, []))[1]:
                os.close(descriptor)

    def abandon(self) -> None:
        """Nothing came of what was being received."""
        for descriptor, _ in self._receiving:
            os.close(descriptor)
        self._receiving.clear()

    def expire(self) -> None:
        """Give up what a client that vanished has left."""
        late = time.monotonic() - EXPIRY
        self.close([key for key, (since, _) in list(self._open.items()) if since < late])


def map_shared(namespace: dict[str, Any], shared: Any, own: Any) -> None:
    """Set names to objects whose buffers are in the memory that another engine of this node received."""
    head, sizes = shared
    pid, descriptors = own
    buffers = []
    for size, descriptor in zip(sizes, descriptors, strict=True):
        file = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            buffers.append(memoryview(mmap.mmap(file, size, prot=mmap.PROT_READ)))
        finally:
            os.close(file)
    names = pickles.loads([head, *buffers])
    for value in names.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False  # small ones came with the head
    namespace.update(names)
