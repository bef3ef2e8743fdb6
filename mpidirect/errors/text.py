"""Texts of errors: engine ids, labels of engines, and places in tracebacks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_FRAME = re.compile(r"  \S.*, line \d+")  # of a traceback
_LIBRARY = re.compile(r"/lib(64)?/python3|[\"/]mpi4py/|<frozen ")


def format_ids(ids: Sequence[Any]) -> str:
    """Return ``[0, 1, 2, 5]`` as ``0-2,5``."""
    runs: list[list[Any]] = []
    for i in ids:
        if runs and isinstance(i, int) and runs[-1][1] == i - 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def error_text(error: BaseException) -> str:
    """Return the class and the text of any error; the class alone if its ``__str__`` fails."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:
        return type(error).__name__


def innermost_user_line(traceback: str) -> str:
    """Return the innermost line of user code in a traceback, as text; empty if there is none."""
    lines = traceback.splitlines()
    frames = [k for k, line in enumerate(lines) if _FRAME.match(line) and not _LIBRARY.search(line)]
    if not frames:
        return ""
    k = frames[-1]
    source = lines[k + 1].strip() if k + 1 < len(lines) and lines[k + 1].startswith("    ") else ""
    return f" in{lines[k][1:]}{': ' if source else ''}{source}"
