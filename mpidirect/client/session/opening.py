"""Open a session with a cluster that runs, or will run soon."""

from __future__ import annotations

import time
from collections.abc import Callable

from ... import errors
from ...files.connection_file import ConnectionInfo
from .session import Session

ANSWER_TIMEOUT = 10.0  # default seconds that a controller has to answer
MIN_TIMEOUT = 0.1  # minimum seconds of one attempt
RETRY_INTERVAL = 0.05  # seconds between two checks for a cluster that does not exist yet
RETRY_INTERVAL_BY_SSH = 2.0  # the same, if each check is a login on another host


def open_session(
    find: Callable[[], ConnectionInfo], timeout: float | None, patience: float, sshserver: str
) -> Session:
    """Connect to a cluster that runs.

    Parameters
    ----------
    find : callable
        Returns how to connect, or raises `ClusterNotFound`.
    timeout : float, optional
        Seconds that the controller has to answer; None or a negative number for the default.
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
    """Connect to a cluster that may not exist yet, until `deadline` by the monotonic clock.

    Raises
    ------
    ClusterNotFound
        If the cluster does not exist in time.
    """
    while True:
        try:
            info = find()
            return Session(info, max(MIN_TIMEOUT, deadline - time.monotonic()), patience, sshserver)
        except errors.ClusterNotFound:
            if time.monotonic() > deadline:
                raise
        time.sleep(RETRY_INTERVAL_BY_SSH if sshserver else RETRY_INTERVAL)
