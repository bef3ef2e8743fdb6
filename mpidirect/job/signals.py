"""Signals to processes of the job."""

from __future__ import annotations

import contextlib
import os

from .process_identity import belongs
from .variables import CLUSTER


def send_signal(pid: int, signum: int) -> None:
    """Send a signal to a process of this host, if the process lives and belongs to this cluster."""
    with contextlib.suppress(OSError):
        if belongs(pid, os.environ.get(CLUSTER, "")):
            os.kill(pid, signum)
