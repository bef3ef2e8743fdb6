"""The IPython that this process is, if it is one: its cells, and how it shows an error."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

_OURS = str(Path(__file__).parent) + os.sep
_IPYTHON = f"{os.sep}IPython{os.sep}core{os.sep}"
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def shell() -> Any:
    """IPython's shell; None in plain Python."""
    module = sys.modules.get("IPython.core.getipython")
    return None if module is None else module.get_ipython()


def cell_of(file: str) -> str:
    """How IPython names a cell, of the name of its code's file: ``Cell In[3]``; empty for other files."""
    compiler = getattr(shell(), "compile", None)
    if compiler is None or not hasattr(compiler, "format_code_name"):
        return ""
    name = compiler.format_code_name(file)
    return " ".join(name) if name else ""


def shown(error: BaseException, remote: Sequence[str] = ()) -> list[str]:
    """What IPython shows of an error: the line here that raised it, what was raised elsewhere, and its text.

    A magic has no line of Python: what it raises is shown without one.
    """
    ip = shell()
    entries = _entries(error.__traceback__)
    ours = next((k for k, entry in enumerate(entries) if is_ours(entry)), len(entries))
    if ours > 1 and _is_ipythons(entries[ours - 1]):
        return [*(remote or [f"{type(error).__name__}: {error}"]), ""]
    users: TracebackType | None = None
    for entry in reversed([entry for entry in entries if not is_ours(entry)]):
        users = TracebackType(users, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    said = type(type(error).__name__, (Exception,), {})(str(error))  # without notes, which some versions show
    if not remote:  # else it is of what engines have raised, and of nothing here
        said.__cause__, said.__context__ = error.__cause__, error.__context__
    said.__suppress_context__ = error.__suppress_context__
    lines: list[str] = ip.InteractiveTB.structured_traceback(type(said), said, users, tb_offset=1)
    head = f"{type(error).__name__}:"
    last = len(lines) - 1
    place = next((k for k in range(last, -1, -1) if _COLOR.sub("", lines[k]).startswith(head)), last)
    return [*lines[:place], *remote, *([""] if remote else []), *lines[place:]]


def is_ours(entry: TracebackType) -> bool:
    """Whether a traceback's entry is of this package."""
    return entry.tb_frame.f_code.co_filename.startswith(_OURS)


def _entries(trace: TracebackType | None) -> list[TracebackType]:
    entries = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    return entries


def _is_ipythons(entry: TracebackType) -> bool:
    return _IPYTHON in entry.tb_frame.f_code.co_filename
