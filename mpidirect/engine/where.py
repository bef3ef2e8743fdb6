"""The place of user code, as text: for a client that asks what an engine waits for."""

from __future__ import annotations

import ast
import itertools
import linecache
import os
import re
import sys
import threading
import traceback
from types import FrameType

from ..job.code_files import CALLER, IPYTHON, LIBRARIES, PACKAGE
from ..serialize.failures import user_stack
from . import debugger_channel
from .mpi.watched_communicator import mpi_state

_SHELL = f"{PACKAGE}engine{os.sep}ipython_shell.py"
BETWEEN_CELLS = "in IPython, before or after the code of a cell"


def where() -> str:
    """Return the blocking MPI call, if any, and the innermost line of user code (control thread)."""
    call = mpi_state.blocking_call
    line = _innermost_line(_main_frame())
    name = "breakpoint()" if debugger_channel.place else ""
    if call is not None:
        name = f"comm.{call[1]}" if call[0] is mpi_state.world else f"{call[1]} of a communicator"
    return ", ".join(part for part in (name, line) if part)


def stack() -> str:
    """Return the call of user code and its line, followed by the stack (control thread)."""
    outside = _frames_outside()
    if not outside:
        return where()
    lines = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in reversed(outside))
    return f"{_head(outside)}\n{''.join(user_stack(lines).format())}"


def call_and_line() -> str:
    """Return the call of user code and its line: the first line of `stack` (control thread)."""
    outside = _frames_outside()
    return _head(outside) if outside else where()


def _frames_outside() -> list[FrameType]:
    """Return the frames of a task that are outside of this package, the innermost first."""
    frame = _main_frame()
    frames = []
    while frame is not None and frame.f_code.co_filename != CALLER:
        frames.append(frame)
        frame = frame.f_back
    if _is_between_cells(frames):
        return []
    frames = [frame for frame in frames if not frame.f_code.co_filename.startswith(PACKAGE)]
    if debugger_channel.place:  # The frames of the debugger are of no interest.
        return list(itertools.dropwhile(_is_of_library, frames)) or frames
    return frames


def _is_between_cells(frames: list[FrameType]) -> bool:
    """Return whether IPython works, and no code of a cell."""
    files = [frame.f_code.co_filename for frame in frames]
    return any(map(_runs_cells, files)) and all(file.startswith(LIBRARIES) for file in files)


def _runs_cells(file: str) -> bool:
    return IPYTHON in file or file == _SHELL


def _is_of_library(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(LIBRARIES)


def _head(outside: list[FrameType]) -> str:
    """Return the call of these frames, and the innermost line of user code."""
    if debugger_channel.place:
        return f"waits in breakpoint() at {debugger_channel.place}"
    call = mpi_state.blocking_call
    name = ""
    if call is not None:
        name = f"comm.{call[1]}" if call[0] is mpi_state.world else call[1]
    user_frames = [frame for frame in outside if not _is_of_library(frame)]
    with_source = [
        frame for frame in outside if not frame.f_code.co_filename.startswith("<frozen")
    ] or outside
    place = (user_frames or with_source)[0]
    name = name or _called_function(with_source[0])
    return f"{name} at {place.f_code.co_filename}:{place.f_lineno}"


def _main_frame() -> FrameType | None:
    return sys._current_frames().get(threading.main_thread().ident or 0)


def _called_function(frame: FrameType) -> str:
    """Return the name of the C function that a frame has called; otherwise of the frame's function."""
    code = frame.f_code
    if hasattr(code, "co_positions"):
        positions = next(itertools.islice(code.co_positions(), frame.f_lasti // 2, None), None)
        if positions and None not in positions:
            line, last, start, end = positions
            source = linecache.getline(code.co_filename, line or 0, frame.f_globals).encode()
            segment = source[start : end if line == last else None].decode(errors="replace")
            return _name_of_call(segment) or code.co_name
    return code.co_name


def _name_of_call(source: str) -> str:
    """Return the name of the function that an expression calls; empty if there is no call, or no name.

    Examples
    --------
    >>> _name_of_call("time.sleep(1)"), _name_of_call("ctypes.CDLL(None).sleep(1)"), _name_of_call("a + b")
    ('time.sleep', 'sleep', '')
    """
    try:
        call = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError):  # The frame knows only the first line of the call.
        found = re.match(r"[\w.]+(?=\()", source)
        return found[0] if found else ""
    if not isinstance(call, ast.Call):
        return ""
    name = ast.unparse(call.func)
    return name if re.fullmatch(r"[\w.]+", name) else getattr(call.func, "attr", "")


def _innermost_line(frame: FrameType | None) -> str:
    """Return the innermost line of user code; if there is none, of a library."""
    innermost = ""
    while frame is not None:
        code = frame.f_code
        text = f"line {frame.f_lineno} of {code.co_name} ({code.co_filename})"
        if code.co_filename == CALLER:
            break
        if not code.co_filename.startswith(LIBRARIES):
            return text
        if _runs_cells(code.co_filename):
            innermost = BETWEEN_CELLS
        elif not code.co_filename.startswith(PACKAGE):
            innermost = innermost or text
        frame = frame.f_back
    return innermost or "in a function without Python code"
