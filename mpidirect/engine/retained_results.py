"""Results that stay in this engine's memory until their client has read them there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from ..arrays.lazy_numpy import np
from ..memory import process_memory
from ..protocol.messages import BULK

PATIENCE = 0.05  # seconds that the next task waits for the client, and one more for each GB


class RetainedResults:
    """Results by task. What is held may be an array that the next task changes, so that task waits until
    the client has read; if that takes long, the result is copied, and a word tells the client so.
    """

    def __init__(self) -> None:
        self._results: dict[str, Any] = {}
        self._words: dict[str, np.ndarray] = {}
        self._released = threading.Event()
        self._awaited = ""

    def keep(self, task: str, frames: Sequence[Any]) -> list[int]:
        """Hold a result; returns the addresses of its word and of its bulk frames."""
        word = np.zeros(1, np.int64)
        self._words[task] = word
        self._results[task] = frames
        self._released.clear()
        self._awaited = task
        return [word.ctypes.data, *_addresses(frames)]

    def wait(self, task: str) -> list[int]:
        """Wait until the client has read; if it does not, returns where the copy is."""
        frames = self._results.get(task)
        if frames is None or self._released.wait(PATIENCE + sum(map(len, frames)) / 1e9):
            return []
        copies = [np.array(memoryview(f).cast("B")) if len(f) >= BULK else f for f in frames]
        if task not in self._results:
            return []
        self._results[task] = copies
        self._words[task][0] = 1  # whoever reads from now on knows that it may have changed
        return [0, *_addresses(copies)]

    def release(self, tasks: Sequence[str]) -> None:
        """The clients have read these (called by the control thread)."""
        for task in tasks:
            self._results.pop(task, None)
            self._words.pop(task, None)
            if task == self._awaited:
                self._released.set()


def _addresses(frames: Sequence[Any]) -> list[int]:
    return [process_memory.address(frame) for frame in frames if len(frame) >= BULK]
