"""Where an interrupt may come, in code that must not be left half done.

Python raises KeyboardInterrupt between any two bytecodes, so also between starting an MPI operation and
keeping its request.  Inside `held` it comes only where `admitted` or `admit` lets it in.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from .mpi.watched_communicator import mpi_state

_INTERRUPT = {signal.SIGINT}


class EngineExit(BaseException):
    """Raised in the main thread when the engine is to end."""


@contextmanager
def held() -> Iterator[None]:
    """Hold interrupts back."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def admitted() -> Iterator[None]:
    """Inside `held`, around code that may be interrupted: the user's, and what can take long."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPT)


def admit() -> None:
    """Inside `held`, a moment at which an interrupt may come: one that was held back, or came too early."""
    if signal.SIGINT in signal.sigpending():
        with admitted():
            pass
    if mpi_state.take_interrupt():
        raise KeyboardInterrupt
