"""Where user code is, in words: for whoever asks what an engine waits for."""

from __future__ import annotations

import sys
import sysconfig
import threading
from pathlib import Path
from types import FrameType

from .communicators import here

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
