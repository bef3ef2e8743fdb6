"""Gets the main thread out of MPI if an interrupt does not: no signal ends a blocking call of MPI."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..protocol import messages
from .main_thread import MainThread
from .mpi import communicators
from .mpi.watched_communicator import mpi_state

CALL_TIMEOUT = 0.05  # Seconds until the communicator of the main thread's call is abandoned.
# Seconds until all communicators are abandoned if the thread is in no call: it may wait for a request.
REQUEST_TIMEOUT = 3.0
REVOKED_TIMEOUT = 0.2  # Seconds after which a call on a revoked communicator must have ended.


class InterruptWatch:
    """Watches, in the control thread, whether the main thread responds to interrupts.

    Parameters
    ----------
    engine : int
        The engine's id.
    main_thread : MainThread
        The main thread.
    send : callable
        Sends a message to the controller.
    """

    def __init__(
        self, engine: int, main_thread: MainThread, send: Callable[[messages.Message], None]
    ) -> None:
        self._engine = engine
        self._main_thread = main_thread
        self._send = send
        self._since: float | None = None  # The time of an interrupt that user code has not received yet.
        self._abandoned_all = False  # Whether all communicators have been abandoned for this interrupt.
        self._reported = 0.0  # When the controller was last told that a revoked call has not ended.
        self._overdue_since = 0.0  # When the main thread was last seen outside an abandoned communicator.

    def begin(self) -> None:
        """Note that an interrupt was sent."""
        self._since, self._abandoned_all = time.monotonic(), False

    def timeout(self) -> float:
        """Return the seconds until `check` must be called."""
        return CALL_TIMEOUT if self._since is not None or _in_abandoned_call() else float("inf")

    def check(self) -> None:
        """Get the main thread out of MPI if an interrupt has taken too long."""
        self._end_revoked_call()
        if self._since is None:
            return
        waited = time.monotonic() - self._since
        # Read these values before the test whether the interrupt is due: the main thread continues to run.
        epoch, call = mpi_state.epoch, mpi_state.blocking_call
        if not self._main_thread.interrupt_is_due:
            self._since = None
        elif waited < CALL_TIMEOUT:
            return
        elif call is not None:
            comm, name = call
            communicators.abandon(comm, epoch, f"engine {self._engine} was interrupted in its {name}")
        else:
            if waited >= REQUEST_TIMEOUT and not self._abandoned_all:
                # The main thread may wait for a request. If it computes instead, only time is lost.
                communicators.abandon_all(epoch, f"engine {self._engine} was interrupted")
                self._abandoned_all = True
            # A signal between Python's last check for signals and a system call does not end the call, which
            # may last for ever. The next signal ends it.
            self._main_thread.wake()

    def _end_revoked_call(self) -> None:
        """End a call on an abandoned communicator that has not ended by itself."""
        now = time.monotonic()
        if not _in_abandoned_call():
            self._overdue_since = now
        elif now - self._reported >= CALL_TIMEOUT:  # The controller's answers wake this thread, too.
            self._reported = now
            self._send(messages.CommunicatorRevoked())
            if now - self._overdue_since >= REVOKED_TIMEOUT:
                self._overdue_since = now
                communicators.wake_blocked_call()


def _in_abandoned_call() -> bool:
    """Return whether the main thread is in a call on a communicator that was abandoned."""
    call = mpi_state.blocking_call
    return call is not None and bool(call[0].unusable_reason)
