"""Ask a cluster's controller to end the cluster."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import MPIDirectError
from ..files import connection_file
from ..files.hosts import is_this_host
from ..job.process_identity import belongs
from .readiness import connect


def ask_to_stop(file: Path, timeout: float) -> bool:
    """Connect to the controller by its connection file and ask it to stop; return whether it has agreed."""
    try:
        client = connect(file, time.monotonic() + timeout)
        try:
            client.shutdown(hub=True, block=False)
        finally:
            client.close()
    except MPIDirectError:
        return False
    return True


def terminate(file: Path) -> bool:
    """Send a SIGTERM to the controller, which asks it to stop; return whether that was possible.

    This needs no thread, so a process can do it at its exit.
    """
    try:
        controller = connection_file.read(file)
        if is_this_host(controller.host) and belongs(controller.pid, controller.cluster):
            os.kill(controller.pid, signal.SIGTERM)
    except (MPIDirectError, OSError):
        return False
    return True


def await_end(goes_on: Callable[[], bool], deadline: float, interval: float) -> None:
    """Wait until a job has ended, or until the deadline on the monotonic clock."""
    while goes_on() and time.monotonic() < deadline:
        time.sleep(interval)
