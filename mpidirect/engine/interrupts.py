"""Where an interrupt may come in code that must not be left incomplete.

Python raises KeyboardInterrupt between any two bytecodes: for example after an MPI operation has begun,
before its request is stored. Inside `held`, an interrupt comes only where `admitted` or `admit` allows it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from .mpi.watched_communicator import mpi_state

_INTERRUPT = {signal.SIGINT}


class EngineExit(BaseException):
    """Raised in the main thread to end the engine."""


@contextmanager
def held() -> Iterator[None]:
    """Hold interrupts back inside the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def admitted() -> Iterator[None]:
    """Admit interrupts inside the block, inside `held`: around user code, and code that can take long."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPT)


def admit() -> None:
    """Inside `held`, raise an interrupt that was held back or that came before its task."""
    if signal.SIGINT in signal.sigpending():
        with admitted():
            pass
    if mpi_state.take_interrupt():
        raise KeyboardInterrupt
