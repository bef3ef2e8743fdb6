"""Exceptions of user code as text, without the frames of this package."""

from __future__ import annotations

import linecache
import re
import traceback
from types import TracebackType

from .. import _tracebacks
from .._tracebacks import IPYTHON, entries, file_of, is_internal, line_of
from ..protocol.messages import Failure
from . import received_names, source_lines

_MAX_TEXT = 20_000  # characters
_MAX_TRACEBACK = 400_000  # characters: a traceback ends with the text of its error, which may be long data
_MAX_NAME = 1_000  # characters
_MAX_FRAMES = 60  # number of the innermost frames that are described
_NAME = type.__dict__["__name__"]  # the original attribute: a metaclass of the user may redefine this name
_CELL = re.compile(r"<ipython-input-\d+-[0-9a-f]+>")


def describe(error: BaseException, method: str) -> Failure:
    """Return the description of `error` for the client; never raises.

    Parameters
    ----------
    error : Exception
        The error that user code has raised.
    method : str
        The operation of the task, as ``"apply"``.
    """
    ename = _NAME.__get__(type(error))[:_MAX_NAME]
    try:
        evalue, text = _describe(error, ename)
    except BaseException:  # attributes of the error may raise exceptions
        evalue, text = f"<nothing of this {ename} can be had>", _format(error, ename, "")
    return Failure(ename, evalue, _shortened(text), method)


def _shortened(text: str) -> str:
    """Return the beginning and the end of a long text: an oversized message would end the engine."""
    left_out = len(text) - _MAX_TRACEBACK
    if left_out <= 0:
        return text
    half = _MAX_TRACEBACK // 2
    return f"{text[:half]}\n[{left_out:,} characters are left out]\n{text[-half:]}"


def _describe(error: BaseException, ename: str) -> tuple[str, str]:
    """Return the text of an error, and its traceback."""
    try:
        evalue = str(error)[:_MAX_TEXT]
    except BaseException:
        evalue = f"<the text of this {ename} can't be had: its __str__ failed>"
    if isinstance(error, SyntaxError):  # the text names the file, and engines name the same cell differently
        evalue = _CELL.sub("executed code", evalue)
    if isinstance(error, NameError) and received_names.engine_names is not None:
        reason = received_names.engine_names.failures.get(error.name or "")
        if reason:
            evalue += f" (the prompt has it, but it cannot be made on this engine: {reason})"
    text = getattr(error, "_mpidirect_traceback", None)
    if not isinstance(text, str):
        text = _format(error, ename, evalue)
    return evalue, text


def user_traceback(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames of this package; the whole one if there are no other frames."""
    return _tracebacks.user_traceback(trace) or trace


def has_source(trace: TracebackType | None) -> bool:
    """Return whether this host has the source of all frames; cells of a prompt do not count."""
    frames = [(file_of(entry), line_of(entry)) for entry in entries(trace)]
    user_frames = [frame for frame in frames if not is_internal(frame[0])]
    return all(
        file not in source_lines.installed and linecache.getline(file, line) for file, line in user_frames
    )


def _format(error: BaseException, ename: str, evalue: str) -> str:
    try:
        formatted = traceback.TracebackException(type(error), error, error.__traceback__, limit=-_MAX_FRAMES)
        part: traceback.TracebackException | None = formatted
        while part is not None:
            part.stack = user_stack(part.stack)
            part = part.__cause__ or part.__context__
        return "".join(formatted.format()).rstrip()
    except BaseException:
        return f"{ename}: {evalue}\n<the traceback can't be had>"


def user_stack(stack: traceback.StackSummary) -> traceback.StackSummary:
    """Return a stack without the frames of this package, and without IPython's frames at the start."""
    frames = [frame for frame in stack if not is_internal(frame.filename)]
    while frames and IPYTHON in frames[0].filename:
        del frames[0]
    return traceback.StackSummary.from_list(frames)
