"""The end of the cluster."""

from __future__ import annotations

import time


class Shutdown:
    """Whether the cluster ends, and how long the engines may take to leave."""

    def __init__(self) -> None:
        self._deadline: float | None = None

    @property
    def begun(self) -> bool:
        """Return whether the cluster ends."""
        return self._deadline is not None

    def begin(self, grace: float) -> None:
        """End the cluster; the engines have `grace` seconds to leave."""
        self._deadline = time.monotonic() + grace

    @property
    def overdue(self) -> bool:
        """Return whether the time of the engines is over."""
        return self._deadline is not None and time.monotonic() > self._deadline
