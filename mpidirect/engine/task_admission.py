"""Decides which tasks begin on an engine, and which are aborted before."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from .main_thread import MainThread

MEMORY = 64  # Number of remembered tasks that have begun; the controller sends fewer tasks ahead.


class TaskAdmission:
    """Lets each task either begin (main thread) or be aborted (control thread), never both.

    Parameters
    ----------
    main_thread : MainThread
        The thread whose interrupts of an aborted task are dropped.
    """

    def __init__(self, main_thread: MainThread) -> None:
        self._main_thread = main_thread
        self._begun: deque[str] = deque(maxlen=MEMORY)
        self._aborted: set[str] = set()  # Tasks that will not begin. The replies to their aborts are sent.
        self._lock = threading.Lock()

    def begin(self, task: str) -> bool:
        """Return whether the task may begin; if so, it can't be aborted any more."""
        with self._lock:
            if task not in self._aborted:
                self._begun.append(task)
                return True
            self._aborted.discard(task)
            self._main_thread.requested.discard(task)
            return False

    def is_aborted(self, task: str) -> bool:
        """Return whether a task will not begin."""
        return task in self._aborted

    def abort(self, tasks: Sequence[str]) -> list[str]:
        """Keep tasks from beginning; return those that had not begun (called by the control thread)."""
        with self._lock:
            aborted = [task for task in tasks if task not in self._begun and task not in self._aborted]
            self._aborted.update(aborted)
        return aborted
