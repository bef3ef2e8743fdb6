"""Exceptions of user code as text, whatever they are: the frames of this package are left out."""

from __future__ import annotations

import linecache
import os
import re
import traceback
from types import TracebackType

from .. import _tracebacks
from .._tracebacks import entries, file_of, is_ours
from ..protocol.messages import Failure
from . import received_names, source_lines

LONGEST = 20_000  # characters of an exception's text
DEEPEST = 60  # frames that are told, the innermost ones
_CELL = re.compile(r"<ipython-input-\d+-[0-9a-f]+>")
_SHELL = os.path.join("IPython", "core", "interactiveshell.py")  # noqa: PTH118  # the end of a path


def describe(error: BaseException, method: str) -> Failure:
    """What is told to the client of `error`; never fails itself."""
    ename = type(error).__name__
    try:
        evalue = str(error)[:LONGEST]
    except BaseException:
        evalue = f"<the text of this {ename} can't be had: its __str__ failed>"
    if isinstance(error, SyntaxError):  # its text names the file; engines have different names for a cell
        evalue = _CELL.sub("executed code", evalue)
    if isinstance(error, NameError) and received_names.borrower is not None:
        reason = received_names.borrower.missing.get(error.name or "")
        if reason:
            evalue += f" (the prompt has it, but it cannot be made on this engine: {reason})"
    text = getattr(error, "_mpidirect_traceback", None)
    if not isinstance(text, str):
        text = _format(error, ename, evalue)
    return Failure(ename, evalue, text, method)


def users(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of this package, if any others are left."""
    return _tracebacks.users(trace) or trace


def has_source(trace: TracebackType | None) -> bool:
    """Whether the source of all frames is here; what was typed at a prompt has its name there."""
    frames = [(file_of(entry), entry.tb_lineno) for entry in entries(trace)]
    theirs = [frame for frame in frames if not is_ours(frame[0])]
    return all(file not in source_lines.installed and linecache.getline(file, line) for file, line in theirs)


def _format(error: BaseException, ename: str, evalue: str) -> str:
    try:
        shown = traceback.TracebackException(type(error), error, error.__traceback__, limit=-DEEPEST)
        part: traceback.TracebackException | None = shown
        while part is not None:
            part.stack = users_part(part.stack)
            part = part.__cause__ or part.__context__
        return "".join(shown.format()).rstrip()
    except BaseException:
        return f"{ename}: {evalue}\n<the traceback can't be had>"


def users_part(stack: traceback.StackSummary) -> traceback.StackSummary:
    """Without what stands in front of user code, or is called by it, and tells the user nothing."""
    frames = [frame for frame in stack if not is_ours(frame.filename)]
    while frames and frames[0].filename.endswith(_SHELL):
        del frames[0]
    return traceback.StackSummary.from_list(frames)
