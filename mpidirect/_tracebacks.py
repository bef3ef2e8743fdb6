"""What tracebacks consist of, and which of it is this package's."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

_OURS = str(Path(__file__).parent) + os.sep
_STANDARD = str(Path(os.__file__).parent) + os.sep
_INSTALLED = f"{os.sep}site-packages{os.sep}"


def entries(trace: TracebackType | None) -> list[TracebackType]:
    """The entries of a traceback, the outermost first."""
    found = []
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


def file_of(entry: TracebackType) -> str:
    """The name of the file whose code an entry is in."""
    return entry.tb_frame.f_code.co_filename


def is_ours(filename: str) -> bool:
    """Whether a file belongs to this package."""
    return filename.startswith(_OURS)


def is_standard(filename: str) -> bool:
    """Whether a file belongs to Python's standard library."""
    return filename.startswith((_STANDARD, "<frozen ")) and _INSTALLED not in filename


def users(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of this package; None if there are no others."""
    kept: TracebackType | None = None
    for entry in reversed(entries(trace)):
        if not is_ours(file_of(entry)):
            kept = TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return kept
