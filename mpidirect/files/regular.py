"""Reading of regular files alone: to open a pipe may wait for ever, and a device may have no end."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read it, without waiting.

    Raises
    ------
    OSError
        When the file can't be opened, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "This is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path) -> str:
    """Return the text of a regular file; bytes that are no text are replaced.

    Raises
    ------
    OSError
        When the file can't be read, or is no regular file.
    """
    with open_regular(path) as file:
        return file.read().decode(errors="replace")
