"""The IPython that this process is, if it is one: its cells, and how it shows an error."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from ._tracebacks import entries, file_of, is_ours, users

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


def shown_last() -> list[str]:
    """What IPython shows of the error that it shows now; as an attribute, this makes no circle with it."""
    error = sys.last_value
    return [] if error is None else shown(error)


def shown(error: BaseException, remote: Sequence[str] = ()) -> list[str]:
    """What IPython shows of an error: the line here that raised it, what was raised elsewhere, and its text.

    A magic has no line of Python: what it raises is shown without one.
    """
    ip = shell()
    if ip is None:
        return traceback.format_exception(error)
    frames = entries(error.__traceback__)
    ours = next((k for k, frame in enumerate(frames) if is_ours(file_of(frame))), len(frames))
    if ours > 1 and _IPYTHON in file_of(frames[ours - 1]):
        return [*(remote or [f"{type(error).__name__}: {error}"]), ""]
    said = type(type(error).__name__, (Exception,), {})(str(error))  # without notes, which some versions show
    if not remote:  # else it is of what engines have raised, and of nothing here
        said.__cause__, said.__context__ = error.__cause__, error.__context__
        _shorten(said)
    said.__suppress_context__ = error.__suppress_context__
    lines: list[str] = ip.InteractiveTB.structured_traceback(
        type(said), said, users(error.__traceback__), tb_offset=1
    )
    head = f"{type(error).__name__}:"
    last = len(lines) - 1
    place = next((k for k in range(last, -1, -1) if _COLOR.sub("", lines[k]).startswith(head)), last)
    return [*lines[:place], *remote, *([""] if remote else []), *lines[place:]]


def _shorten(error: BaseException) -> None:
    """Take our frames out of the tracebacks of what an error is chained to."""
    done = {error}
    part = error.__cause__ or error.__context__
    while part is not None and part not in done:
        part.__traceback__ = users(part.__traceback__) or part.__traceback__
        done.add(part)
        part = part.__cause__ or part.__context__
