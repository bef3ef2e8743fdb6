"""Opening a session: at once, or as soon as the cluster is there."""

from __future__ import annotations

import time
from collections.abc import Callable

from ... import errors
from ...files.connection_file import ConnectionInfo
from .session import Session

ANSWER_TIMEOUT = 10.0  # seconds that a controller has to answer, by default
MIN_TIMEOUT = 0.1  # seconds of one attempt, however little time is left
RETRY_INTERVAL = 0.05  # seconds between two looks for a cluster that is not there yet
RETRY_INTERVAL_BY_SSH = 2.0  # the same, where each look is a login on another host


def open_session(
    find: Callable[[], ConnectionInfo], timeout: float | None, patience: float, sshserver: str
) -> Session:
    """Connect to a cluster that runs.

    Parameters
    ----------
    find : callable
        Returns how to connect, or raises `ClusterNotFound`.
    timeout : float, optional
        Seconds that the controller has to answer; None or negative for the default.
    patience : float
        Seconds to try for a new connection when this one breaks.
    sshserver : str
        A host to reach the controller through; empty for a direct connection.
    """
    limit = ANSWER_TIMEOUT if timeout is None or timeout < 0 else timeout
    return Session(find(), limit, patience, sshserver)


def await_session(
    find: Callable[[], ConnectionInfo], deadline: float, patience: float, sshserver: str = ""
) -> Session:
    """Connect to a cluster that may not be there yet, until `deadline` by the monotonic clock.

    Raises
    ------
    ClusterNotFound
        When the cluster is not there in time.
    """
    while True:
        try:
            info = find()
            return Session(info, max(MIN_TIMEOUT, deadline - time.monotonic()), patience, sshserver)
        except errors.ClusterNotFound:
            if time.monotonic() > deadline:
                raise
        time.sleep(RETRY_INTERVAL_BY_SSH if sshserver else RETRY_INTERVAL)
