"""Waits that can be interrupted with any MPI: tests of non-blocking operations until they have ended.

Without `Revoke`, nothing ends a blocking call from outside, so no blocking call is made. Between two tests,
an interrupt or the death of an engine is seen. An operation that is left then is not ended: its request and
its buffers are kept, and its communicator is abandoned.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from mpi4py import MPI

from .communicators import abandon
from .watched_communicator import CommunicatorLost, WatchedCommunicator, mpi_state

_TESTS_WITHOUT_PAUSE = 100
_TESTS_WITH_YIELD = 400  # Up to this number of tests, each pause is a yield.
_SHORT_PAUSE, _LONG_PAUSE = 50e-6, 1e-3  # Seconds of the pauses after that.

_left_requests: list[MPI.Request] = []  # Requests keep their buffers alive.
_CLEAN_UP_AT = 64  # How many requests are kept before the first clean-up.
_clean_up_at = _CLEAN_UP_AT


def poll_until(
    comm: WatchedCommunicator, name: str, test: Callable[[], Any], requests: Sequence[MPI.Request] = ()
) -> Any:
    """Call `test` until it returns a true value.

    Parameters
    ----------
    comm : WatchedCommunicator
        The communicator of the wait. An interrupt abandons it.
    name : str
        The name of the call, for errors.
    test : callable
        The test.
    requests : sequence of MPI.Request
        The requests of the wait. They are kept if the wait is left.

    Returns
    -------
    object
        The value that `test` returned.

    Raises
    ------
    CommunicatorLost
        If the communicator was abandoned.
    KeyboardInterrupt
        If an interrupt came.
    """
    tests = 0
    try:
        while not (found := test()):
            if mpi_state.interrupt_pending or comm.unusable_reason:
                if not mpi_state.interrupt_pending:
                    raise CommunicatorLost(MPI.ERR_COMM, comm._explanation())
                abandon(comm, mpi_state.epoch, f"engine {mpi_state.engine} was interrupted in its {name}")
                raise KeyboardInterrupt
            tests += 1
            if tests > _TESTS_WITHOUT_PAUSE:
                if tests > _TESTS_WITH_YIELD:
                    time.sleep(_SHORT_PAUSE if tests < 2 * _TESTS_WITH_YIELD else _LONG_PAUSE)
                else:
                    os.sched_yield()
    except BaseException:
        keep_requests(requests)
        raise
    finally:
        mpi_state.interrupt_pending = False
    return found


def keep_requests(requests: Sequence[MPI.Request]) -> None:
    """Keep requests that no wait will complete until they end: MPI may still use their buffers."""
    global _clean_up_at
    _left_requests.extend(requests)
    if len(_left_requests) > _clean_up_at:
        _left_requests[:] = [request for request in _left_requests if not _has_ended(request)]
        _clean_up_at = max(_CLEAN_UP_AT, 2 * len(_left_requests))


def _has_ended(request: MPI.Request) -> bool:
    try:
        return bool(request.Test())
    except MPI.Exception:
        return False  # MPI does not tell this.
