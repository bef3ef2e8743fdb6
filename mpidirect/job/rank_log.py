"""The log file of a rank."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
from pathlib import Path

from ..files.logs import BEGINS


def redirect_output(path: Path) -> None:
    """Send all output of this rank to the file `path`, that of C libraries and of crashes included."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    if path.stat().st_size:
        print(BEGINS.format(os.getpid()), flush=True)
    faulthandler.enable()
    logger = logging.getLogger("mpidirect")  # Not the root logger: user code may configure that.
    logger.setLevel(os.environ.get("MPIDIRECT_LOGLEVEL", "INFO").upper())
    logger.propagate = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
