"""Where user code is, in words: for whoever asks what an engine waits for."""

from __future__ import annotations

import itertools
import linecache
import re
import sys
import sysconfig
import threading
import traceback
from pathlib import Path
from types import FrameType

from ..serialize.failures import user_stack
from .mpi.communicators import here

_PACKAGE = str(Path(__file__).parents[1])
_ENGINE = str(Path(__file__).with_name("engine.py"))
_PATHS = (sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
_LIBRARIES = (_PACKAGE, *_PATHS, "<frozen")


def where() -> str:
    """The MPI call, if it is in one, and the innermost line of the user's; called by the control thread."""
    at = here.at
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    line = _line(frame)
    call = "" if at is None else f"comm.{at[1]}" if at[0] is here.world else f"{at[1]} of a communicator"
    return ", ".join(part for part in (call, line) if part)


def stack() -> str:
    """Where it is, in a line, and below that the frames of user code; called by the control thread."""
    at = here.at
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    frames = []
    while frame is not None and frame.f_code.co_filename != _ENGINE:  # what is beyond called the user's code
        frames.append(frame)
        frame = frame.f_back
    ours = [frame for frame in frames if frame.f_code.co_filename.startswith(_PACKAGE)]
    theirs = [frame for frame in frames if frame not in ours]
    if not theirs:
        return where()
    call = ""
    if at is not None:
        call = f"comm.{at[1]}" if at[0] is here.world else at[1]
    users = [frame for frame in theirs if not frame.f_code.co_filename.startswith(_LIBRARIES)]
    known = [frame for frame in theirs if not frame.f_code.co_filename.startswith("<frozen")] or theirs
    place = (users or known)[0]
    call = call or _called(known[0])
    lines = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in reversed(theirs))
    text = "".join(user_stack(lines).format())
    return f"{call} at {place.f_code.co_filename}:{place.f_lineno}\n{text}"


def _called(frame: FrameType) -> str:
    """What a frame has called that has no frame: a function of C; else the frame's own function."""
    code = frame.f_code
    if hasattr(code, "co_positions"):
        positions = next(itertools.islice(code.co_positions(), frame.f_lasti // 2, None), None)
        if positions and None not in positions:
            line, last, start, end = positions
            source = linecache.getline(code.co_filename, line or 0, frame.f_globals).encode()
            segment = source[start : end if line == last else None].decode(errors="replace")
            if found := re.match(r"[\w.]+(?=\()", segment):
                return found[0]
    return code.co_name


def _line(frame: FrameType | None) -> str:
    innermost = ""
    while frame is not None:
        code = frame.f_code
        text = f"line {frame.f_lineno} of {code.co_name} ({code.co_filename})"
        if code.co_filename == _ENGINE:  # what is beyond called the user's code
            break
        if not code.co_filename.startswith(_LIBRARIES):
            return text
        if not code.co_filename.startswith(_PACKAGE):
            innermost = innermost or text
        frame = frame.f_back
    return innermost or "in a function without Python code"
