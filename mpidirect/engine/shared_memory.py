"""One copy of an array for all engines of a node, in memory that they map read-only.

The memory has no name (Linux `memfd_create`): the kernel frees it when the last engine that maps it ends or
unmaps it. One engine of the node receives the data. The other engines open the memory through the ``/proc``
entry of that engine, which only processes of the same user can do.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Sequence
from typing import Any

from ..arrays.lazy_numpy import np
from ..serialize import pickles

CLAIM_TIMEOUT = 300.0  # Seconds after which memory is given up that not all engines have mapped.


class SharedMemory:
    """Memory that this engine has received for its node, until all engines there have mapped it."""

    def __init__(self) -> None:
        self._receiving: list[tuple[int, np.ndarray]] = []  # Descriptors and memory of new frames.
        self._unclaimed: dict[str, tuple[float, list[int]]] = {}  # By task: since when, and the descriptors.

    def allocate(self, size: int) -> np.ndarray:
        """Return memory of `size` bytes to receive a bulk frame into."""
        descriptor = os.memfd_create("mpidirect", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, size)
            array = np.frombuffer(mmap.mmap(descriptor, size), np.uint8)
        except BaseException:
            os.close(descriptor)
            raise
        self._receiving.append((descriptor, array))
        return array

    def keep(self, task: str) -> tuple[int, list[int]]:
        """Keep the frames that were received last.

        Returns
        -------
        pid : int
            This process.
        descriptors : list of int
            Its file descriptors of the frames.
        """
        descriptors = [descriptor for descriptor, _ in self._receiving]
        self._receiving.clear()
        self._unclaimed[task] = time.monotonic(), descriptors
        return os.getpid(), descriptors

    def close(self, tasks: Sequence[str]) -> None:
        """Close descriptors: all engines have mapped the memory, which lives as long as they use it."""
        for task in tasks:
            for descriptor in self._unclaimed.pop(task, (0.0, []))[1]:
                os.close(descriptor)

    def abandon(self) -> None:
        """Free the memory of frames that will not arrive."""
        for descriptor, _ in self._receiving:
            os.close(descriptor)
        self._receiving.clear()

    def expire(self) -> None:
        """Give up memory of clients that have left."""
        oldest = time.monotonic() - CLAIM_TIMEOUT
        self.close([task for task, (since, _) in list(self._unclaimed.items()) if since < oldest])


def map_shared(namespace: dict[str, Any], shared: Any, own: Any) -> None:
    """Set names to objects whose buffers are in the memory that another engine of this node has received.

    Parameters
    ----------
    namespace : dict
        The namespace of user code.
    shared : tuple
        The head of the pickle of the names and their values, and the sizes of its buffers in bytes.
    own : tuple
        The process of the other engine, and its descriptors of the buffers.
    """
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
            value.flags.writeable = False  # Small arrays travel with the head.
    namespace.update(names)
