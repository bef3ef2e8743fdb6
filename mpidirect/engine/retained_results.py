"""Results that stay in this engine's memory until their client has read them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from ..arrays.lazy_numpy import np
from ..memory import process_memory
from ..protocol.frames import Frame
from ..protocol.messages import BULK

READ_TIMEOUT = 0.05  # Seconds that the next task waits for the client, plus one for each GB.


class RetainedResults:
    """Results by task.

    A result may be an array that the next task changes. So that task waits until the client has read the
    result. If the client is late, the result is copied, and a flag tells the client that the memory at the
    first address may have changed.
    """

    def __init__(self) -> None:
        self._results: dict[str, Any] = {}
        self._changed: dict[str, np.ndarray] = {}  # The flags, by task.
        self._released = threading.Event()
        self._awaited = ""  # The task whose release sets `_released`.

    def keep(self, task: str, frames: Sequence[Frame]) -> list[int]:
        """Keep a result.

        Parameters
        ----------
        task : str
            The id of the task.
        frames : sequence
            The result.

        Returns
        -------
        list of int
            The address of the flag, an int64, and the addresses of the bulk frames.
        """
        changed = np.zeros(1, np.int64)
        self._changed[task] = changed
        self._results[task] = frames
        self._released.clear()
        self._awaited = task
        return [changed.ctypes.data, *_addresses(frames)]

    def wait(self, task: str) -> list[int]:
        """Wait until the client has read a result; copy the result if that takes long.

        Returns
        -------
        list of int
            Empty if the client has read; else 0 and the addresses of the copies.
        """
        frames = self._results.get(task)
        if frames is None or self._released.wait(READ_TIMEOUT + sum(map(len, frames)) / 1e9):
            return []
        copies = [np.array(memoryview(f).cast("B")) if len(f) >= BULK else f for f in frames]
        if task not in self._results:
            return []
        self._results[task] = copies
        self._changed[task][0] = 1
        return [0, *_addresses(copies)]

    def release(self, tasks: Sequence[str]) -> None:
        """Forget results that their clients have read (called by the control thread)."""
        for task in tasks:
            self._results.pop(task, None)
            self._changed.pop(task, None)
            if task == self._awaited:
                self._released.set()


def _addresses(frames: Sequence[Frame]) -> list[int]:
    return [process_memory.address(frame) for frame in frames if len(frame) >= BULK]
