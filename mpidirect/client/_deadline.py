"""How long the cluster's job may still run, and the warning before its walltime ends it."""

from __future__ import annotations

import sys
import threading
import time

from ..wire.connection_file import ConnectionInfo


class Deadline:
    """The end of a cluster's job.

    Parameters
    ----------
    info : ConnectionInfo
        What the controller said of itself.
    """

    def __init__(self, info: ConnectionInfo) -> None:
        self._info = info
        self._timer: threading.Timer | None = None
        self._closed = False
        if info.ends:
            self._wait(info.ends - time.time())

    def left(self) -> float | None:
        """Seconds until the walltime ends the job; None if nothing will.

        A scheduler that can be asked from here is: the walltime may have been changed meanwhile.
        """
        from ..launching import scheduled_launcher

        launcher = scheduled_launcher(self._info.profile, self._info.cluster)
        left = launcher.state().left if launcher is not None else None
        if left is None and self._info.ends:
            left = max(0.0, self._info.ends - time.time())
        return left

    def close(self) -> None:
        """Warn no more."""
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
        shown = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        print(f"mpidirect: the walltime ends cluster {self._info.cluster} in {shown}.", file=sys.stderr)
