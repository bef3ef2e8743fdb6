"""The remaining walltime of the cluster's job, and the warning before its end."""

from __future__ import annotations

import sys
import threading
import time

from ...files.connection_file import ConnectionInfo

QUERY_TIMEOUT = 5.0  # seconds that a scheduler has to answer
SAME_END = 60.0  # seconds by which two statements of one end may differ
_told: dict[str, float] = {}  # by cluster, the end that this process has warned of


class Deadline:
    """The end of a cluster's job.

    Parameters
    ----------
    info : ConnectionInfo
        The contents of the connection file.
    left : float or None
        The seconds that were left when the controller answered, by the controller's clock.
    """

    def __init__(self, info: ConnectionInfo, left: float | None) -> None:
        self._info = info
        self._ends = None if left is None else time.time() + left
        self._timer: threading.Timer | None = None
        self._closed = False
        if left is not None:
            self._wait(left)

    def left(self) -> float | None:
        """Seconds until the walltime ends the job; None without a walltime.

        If this host can ask the scheduler, it does so: the walltime may have been changed.
        """
        from ...launchers.scheduled_jobs import scheduled_launcher

        reported = None if self._ends is None else max(0.0, self._ends - time.time())
        launcher = scheduled_launcher(self._info.profile, self._info.cluster)
        if launcher is None:
            return reported
        launcher.command_timeout = QUERY_TIMEOUT
        return launcher.left(reported)

    def close(self) -> None:
        """Stop the warnings."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self, left: float) -> None:
        self._timer = threading.Timer(max(0.0, left - self._info.warning), self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        left = self.left()
        if self._closed or left is None:
            return
        if left > self._info.warning + 1:
            self._wait(left)
            return
        ends = time.time() + left
        if abs(_told.get(self._info.cluster, 0.0) - ends) < SAME_END:
            return
        _told[self._info.cluster] = ends
        shown = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        print(f"mpidirect: the walltime ends cluster {self._info.cluster} in {shown}.", file=sys.stderr)
