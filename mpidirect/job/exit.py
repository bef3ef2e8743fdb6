"""The end of a rank's process: in a bounded time, with an exit code that the rank wrapper knows."""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from .parent import Parent

EXIT_LIMIT = 5.0  # Seconds that the exit functions and MPI_Finalize may take.
CLEAN_EXIT = 99  # Exit code that tells the rank wrapper of a clean end. User code may exit with 0.


def leave(finalize: Callable[[], None] | None) -> NoReturn:
    """Run the exit functions, finalize MPI, and end this process.

    Parameters
    ----------
    finalize : callable or None
        ``MPI_Finalize``. None after a failure, when ``MPI_Finalize`` may hang.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.dump_traceback_later(EXIT_LIMIT, exit=True)
    atexit._run_exitfuncs()
    if finalize is not None:
        finalize()
    sys.stdout.flush()
    sys.stderr.flush()
    exit_cleanly()


def exit_cleanly() -> NoReturn:
    """End this process at once, as a process that has completed its work."""
    os._exit(CLEAN_EXIT if Parent().wrapped else 0)
