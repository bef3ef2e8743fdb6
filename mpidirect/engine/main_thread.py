"""The engine's main thread, as the control thread sees it: the running task, interrupts, the end."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from ..protocol import messages
from . import signal_handlers
from .interrupts import EngineExit
from .mpi.watched_communicator import mpi_state

WAKE = signal.SIGURG  # A signal that ends a system call. Programs ignore it unless they install a handler.
REPEAT_DELAY = 0.01  # Seconds until an interrupt is repeated that came where Python can raise no exception.


class MainThread:
    """Decides the effect of a signal to the main thread.

    The control thread requests interrupts of tasks and the end of the engine. It sends SIGINT for both. The
    handler runs in the main thread: it raises `KeyboardInterrupt` only in the user code of a task with a
    requested interrupt.
    """

    def __init__(self) -> None:
        self.leaving = False  # Whether the engine must end.
        self.task = ""  # The id of the task whose user code runs now.
        self.method = ""  # The method or function of the running task, or of the last one.
        self.began = 0.0  # When that task began (monotonic clock).
        self.requested: set[str] = set()  # The ids of tasks to interrupt.
        self._left_loop = False  # Whether the main loop has ended.
        self._sent_by_control = False  # Whether the control thread has sent the next SIGINT.
        mpi_state.take_interrupt = self.take_interrupt
        mpi_state.user_code_runs = lambda: bool(self.task)

    def install_handlers(self, user_code: Callable[..., Any]) -> None:
        """Install the handlers of signals.

        Parameters
        ----------
        user_code : function
            The function that calls user code: handlers of user code may raise exceptions only below it.
        """
        signal.signal(signal.SIGINT, self._on_interrupt)
        signal.signal(WAKE, _ignore)
        signal_handlers.enable(user_code, (self._on_interrupt, _ignore))
        sys.unraisablehook = self._on_unraisable

    def restore_interrupt_handler(self) -> None:
        """Install the handler of SIGINT again, if user code has replaced it."""
        if signal_handlers.interrupt_replaced:
            signal.signal(signal.SIGINT, self._on_interrupt)

    def begin(self, task: messages.Task) -> None:
        """Note that the user code of a task begins."""
        self.method, self.began = task.method, time.monotonic()
        self.task = task.id

    def leave_loop(self) -> None:
        """Note that the main loop has ended: signals have no effect any more."""
        self.leaving, self._left_loop = True, True

    def take_interrupt(self) -> bool:
        """Return whether the running task must be interrupted; True only once for each interrupt."""
        if not self.task or self.task not in self.requested:
            return False
        self.requested.discard(self.task)
        return True

    # -- called by the control thread -----------------------------------------------------------------

    def send_signal(self, message: messages.Signal) -> None:
        """Send a signal to user code."""
        if message.signum == signal.SIGINT:
            self.requested.add(message.id or self.task)
            self._sent_by_control = True
        signal.pthread_kill(_ident(), message.signum)

    def wake(self) -> None:
        """End the system call of the main thread, so that Python checks for signals."""
        signal.pthread_kill(_ident(), WAKE)

    def leave(self) -> None:
        """Ask the main thread to end the engine."""
        self.leaving = True
        signal.pthread_kill(_ident(), signal.SIGINT)

    @property
    def interrupt_is_due(self) -> bool:
        """Whether the running task has an interrupt that has not reached user code yet."""
        return bool(self.task) and (self.task in self.requested or mpi_state.interrupt_pending)

    # -- handlers -------------------------------------------------------------------------------------

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self._left_loop:
            return
        if self.leaving:
            raise EngineExit
        by_control, self._sent_by_control = self._sent_by_control, False
        is_due = self.take_interrupt() if by_control else bool(self.task)
        if is_due and mpi_state.blocking_call is not None:
            mpi_state.interrupt_pending = True  # The blocking MPI call checks this.
        elif is_due:
            raise KeyboardInterrupt from None

    def _on_unraisable(self, info: Any) -> None:
        """Repeat an interrupt that came where Python can raise no exception, as in a destructor."""
        if self.task and isinstance(info.exc_value, KeyboardInterrupt):
            again = messages.Signal(signal.SIGINT, self.task)
            threading.Timer(REPEAT_DELAY, self.send_signal, [again]).start()
        else:
            sys.__unraisablehook__(info)


def _ident() -> int:
    return threading.main_thread().ident or 0


def _ignore(signum: int, frame: FrameType | None) -> None:
    """Handle a signal in Python: without a handler, the signal would not end a system call."""
