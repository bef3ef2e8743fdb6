"""Stacks of other processes of the host, with C frames: read in a thread, because the tools take seconds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from ..protocol import messages


class ProcessExaminer:
    """Reads the stacks that the controller requests.

    Parameters
    ----------
    done : callable
        Called in the thread when an answer is ready.

    Attributes
    ----------
    due : deque of ProcessesExamined
        The answers that must be sent.
    """

    def __init__(self, done: Callable[[], None] = lambda: None) -> None:
        self.due: deque[messages.ProcessesExamined] = deque()
        self._done = done
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether an answer is being made, or must be sent."""
        return bool(self.due) or (self._thread is not None and self._thread.is_alive())

    def examine(self, order: messages.ExamineProcesses) -> None:
        """Begin to read the stacks."""
        self._thread = threading.Thread(target=self._examine, args=[order], daemon=True)
        self._thread.start()

    def _examine(self, order: messages.ExamineProcesses) -> None:
        from ..job.native_stacks import NoNativeStack, native_stack  # Imported at first use, to start faster.

        for engine, pid in order.pids.items():  # One at a time: a tool takes a whole processor.
            try:
                stack, problem = native_stack(pid), ""
            except NoNativeStack as e:
                stack, problem = "", str(e)
            self.due.append(messages.ProcessesExamined(order.number, engine, stack, problem))
            self._done()
