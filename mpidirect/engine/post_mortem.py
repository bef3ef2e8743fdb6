"""The last error of user code, kept for a debugger at the prompt until other user code runs.

Each command of the debugger is a task of its own, so an engine never waits for a user.
"""

from __future__ import annotations

import io
from types import TracebackType
from typing import Any

from ..serialize.failures import user_traceback
from .breakpoints import new_debugger

HARMLESS = frozenset({"debug", "pull", "names", "has"})  # operations that leave the error in place

# the original attribute: a class of the user may redefine this name
_TRACEBACK = BaseException.__dict__["__traceback__"]

last_error: BaseException | None = None
_trace: TracebackType | None = None
_debugger: Any = None


def keep(error: BaseException) -> None:
    """Keep an error with its frames; a MemoryError is not kept, so that memory becomes free."""
    global last_error, _trace
    release()
    # isinstance would use attributes of the error, which may raise exceptions
    if not issubclass(type(error), MemoryError):
        last_error, _trace = error, user_traceback(_TRACEBACK.__get__(error))


def release() -> None:
    """Release the error, and the objects that its frames keep alive."""
    global last_error, _trace, _debugger
    last_error = _trace = _debugger = None


def debug(namespace: dict[str, Any], command: str | None, own: Any) -> tuple[str, bool] | None:
    """Run a command of the debugger on the last error.

    Parameters
    ----------
    command : str or None
        The command. With None, the debugger starts: the output is the innermost place.

    Returns
    -------
    output : str
        What the debugger prints.
    goes_on : bool
        Whether the debugger accepts another command.
    None
        If there is no error to debug.
    """
    global _debugger
    if last_error is None or _trace is None:
        return None
    output = io.StringIO()
    if command is None or _debugger is None:
        _debugger = _debugger_at(_trace, output)
        _debugger.print_stack_entry(_debugger.stack[_debugger.curindex])
        error = f"{type(last_error).__name__}: {last_error}\n"
        return error + output.getvalue(), True
    _debugger.stdout = output
    try:
        ends = bool(_debugger.onecmd(_debugger.precmd(command)))
    except Exception as e:  # a command that asks for more input, or an error of the debugger itself
        output.write(f"*** {type(e).__name__}: {e}\n")
        ends = False
    if ends:
        release()
    return output.getvalue(), not ends


def _debugger_at(trace: TracebackType, output: io.StringIO) -> Any:
    """Return a debugger at the innermost frame of user code."""
    debugger = new_debugger(output)
    debugger.reset()
    debugger.setup(None, trace)
    return debugger
