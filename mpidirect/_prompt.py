"""The IPython session of this process, if there is one: its cells, and its display of errors."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from ._highlight import highlight
from ._tracebacks import IPYTHON, copied, entries, file_of, is_internal, user_traceback

_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def ipython_shell() -> Any:
    """Return IPython's shell; None in plain Python."""
    # The class is missing while IPython is being imported.
    shell_class = getattr(sys.modules.get("IPython.core.interactiveshell"), "InteractiveShell", None)
    return shell_class.instance() if shell_class is not None and shell_class.initialized() else None


def cell_name(file: str) -> str:
    """Return IPython's name of the cell with this file name, as ``Cell In[3]``; empty for other files."""
    compiler = getattr(ipython_shell(), "compile", None)
    if compiler is None or not hasattr(compiler, "format_code_name"):
        return ""
    name = compiler.format_code_name(file)
    return " ".join(name) if name else ""


def format_last_error() -> list[str]:
    """Return IPython's lines for the error that IPython displays now.

    An error may have this function as an attribute: unlike a bound method, the function makes no reference
    cycle.
    """
    error = sys.last_value
    return [] if error is None else format_error(error)


def format_error(
    error: BaseException, remote: Sequence[str] = (), without_line: Sequence[str] = ()
) -> list[str]:
    """Return IPython's lines for an error: the line of the cell, the remote tracebacks and the message.

    Parameters
    ----------
    error : Exception
        The error.
    remote : sequence of str
        The tracebacks of engines.
    without_line : sequence of str
        What is shown of an error of a magic, which has no line of Python; by default the message.
    """
    shell = ipython_shell()
    if shell is None:
        return traceback.format_exception(error)
    lines = _lines(error, remote, without_line, shell)
    has_colours = str(getattr(shell, "colors", "nocolor")).lower() != "nocolor"
    return highlight(lines) if has_colours else lines


def _lines(error: BaseException, remote: Sequence[str], without_line: Sequence[str], shell: Any) -> list[str]:
    """Return the lines of `format_error` without colours of the remote tracebacks."""
    frames = entries(error.__traceback__)
    first = next((k for k, frame in enumerate(frames) if is_internal(file_of(frame))), len(frames))
    if first > 1 and IPYTHON in file_of(frames[first - 1]):
        shell.InteractiveTB.tb = copied(frames[-1], None)  # for %debug, without the frames of magics
        return list(without_line) or [f"{type(error).__name__}: {error}"]
    # Some versions of IPython show the notes of an error; this one has none.
    shown = type(type(error).__name__, (Exception,), {})(str(error))
    if not remote:  # with remote tracebacks, the chain belongs to code of the engines
        shown.__cause__, shown.__context__ = error.__cause__, error.__context__
        _remove_internal_frames(shown)
    shown.__suppress_context__ = error.__suppress_context__
    lines: list[str] = shell.InteractiveTB.structured_traceback(
        type(shown), shown, user_traceback(error.__traceback__), tb_offset=1
    )
    head = f"{type(error).__name__}:"
    last = len(lines) - 1
    place = next((k for k in range(last, -1, -1) if without_colors(lines[k]).startswith(head)), last)
    return [*lines[:place], *remote, *([""] if remote else []), *lines[place:]]


def without_colors(text: str) -> str:
    """Return a text without the codes that colour it in a terminal."""
    return _COLOR.sub("", text)


def _remove_internal_frames(error: BaseException) -> None:
    """Remove the frames of this package from the errors that `error` is chained to."""
    done = {error}
    part = error.__cause__ or error.__context__
    while part is not None and part not in done:
        part.__traceback__ = user_traceback(part.__traceback__) or part.__traceback__
        done.add(part)
        part = part.__cause__ or part.__context__
