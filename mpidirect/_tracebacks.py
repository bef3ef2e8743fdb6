"""Entries of tracebacks, and the files that they belong to."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

_PACKAGE = str(Path(__file__).parent) + os.sep
_STANDARD_LIBRARY = str(Path(os.__file__).parent) + os.sep
IPYTHON = f"{os.sep}IPython{os.sep}core{os.sep}"  # in the names of the files that run cells
_INSTALLED = f"{os.sep}site-packages{os.sep}"


def entries(trace: TracebackType | None) -> list[TracebackType]:
    """Return the entries of a traceback, the outermost first."""
    found = []
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


def file_of(entry: TracebackType) -> str:
    """Return the name of the file that contains the code of an entry."""
    return entry.tb_frame.f_code.co_filename


def is_internal(filename: str) -> bool:
    """Return whether a file belongs to this package."""
    return filename.startswith(_PACKAGE)


def is_standard(filename: str) -> bool:
    """Return whether a file belongs to Python's standard library."""
    return filename.startswith((_STANDARD_LIBRARY, "<frozen ")) and _INSTALLED not in filename


def user_traceback(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames of this package; None if there are no others."""
    kept: TracebackType | None = None
    for entry in reversed(entries(trace)):
        if not is_internal(file_of(entry)):
            kept = copied(entry, kept)
    return kept


def copied(entry: TracebackType, following: TracebackType | None) -> TracebackType:
    """Return a copy of an entry before the entries `following`."""
    return TracebackType(following, entry.tb_frame, entry.tb_lasti, line_of(entry))


def line_of(entry: TracebackType) -> int:
    """Return the line of an entry. After some interrupts Python knows no line, and `tb_lineno` is None."""
    line: int | None = entry.tb_lineno
    return entry.tb_frame.f_code.co_firstlineno if line is None else line
