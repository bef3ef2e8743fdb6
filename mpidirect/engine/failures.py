"""Exceptions of user code as text, whatever they are."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from ..wire import borrowing
from ..wire.messages import Failure

LONGEST = 20_000  # characters of an exception's text
_OURS = str(Path(__file__).parent) + os.sep


def describe(error: BaseException, method: str) -> Failure:
    """What is told to the client of `error`; never fails itself."""
    ename = type(error).__name__
    try:
        evalue = str(error)[:LONGEST]
    except BaseException:
        evalue = f"<the text of this {ename} can't be had: its __str__ failed>"
    if isinstance(error, NameError) and borrowing.borrower is not None:
        reason = borrowing.borrower.missing.get(error.name or "")
        if reason:
            evalue += f" (the prompt has it, but it cannot be made on this engine: {reason})"
    text = getattr(error, "_mpidirect_traceback", None)
    if not isinstance(text, str):
        text = _format(error, ename, evalue)
    return Failure(ename, evalue, text, method)


def _format(error: BaseException, ename: str, evalue: str) -> str:
    try:
        shown = traceback.TracebackException(type(error), error, error.__traceback__, limit=-60)
        for part in (shown, shown.__cause__, shown.__context__):
            if part is not None:  # where it passed through the engine's own code tells a user nothing
                part.stack = traceback.StackSummary.from_list(
                    [frame for frame in part.stack if not frame.filename.startswith(_OURS)]
                )
        return "".join(shown.format()).rstrip()
    except BaseException:
        return f"{ename}: {evalue}\n<the traceback can't be had>"
