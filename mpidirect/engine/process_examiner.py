"""Stacks of other processes of the host, with C frames: made in a thread, because the tools take seconds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from ..protocol import messages


class ProcessExaminer:
    """Makes the stacks that the controller asks for.

    Parameters
    ----------
    done : callable
        Called in the thread when an answer is due.

    Attributes
    ----------
    due : deque of ProcessesExamined
        The answers that are to be sent.
    """

    def __init__(self, done: Callable[[], None] = lambda: None) -> None:
        self.due: deque[messages.ProcessesExamined] = deque()
        self._done = done
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether an answer is being made, or is to be sent."""
        return bool(self.due) or (self._thread is not None and self._thread.is_alive())

    def examine(self, order: messages.ExamineProcesses) -> None:
        """Begin to make the stacks."""
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
