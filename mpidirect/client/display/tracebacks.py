"""Tracebacks of errors show the user's code: the way from there to the engines tells a user nothing."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from ... import _prompt
from ..._tracebacks import entries, file_of, is_internal, is_standard
from ...errors import CompositeError, Interrupted, RemoteError

_F = TypeVar("_F", bound=Callable[..., Any])
_C = TypeVar("_C", bound=type)

_ITEMS = ("__getitem__", "__setitem__", "__delitem__", "__contains__")
_SPECIAL = (*_ITEMS, "__getattr__", "__setattr__", "__call__")
_NEVER_FAIL = ("ready", "done", "wait", "spin")  # and are called often


def quiet(kind: _C) -> _C:
    """Class decorator: errors that leave a public method do so without our frames."""
    for name, function in inspect.getmembers(kind, inspect.isfunction):
        public = not name.startswith("_") and name not in _NEVER_FAIL
        if (public or name in _SPECIAL) and function.__module__.startswith("mpidirect."):
            setattr(kind, name, quietly(function))
    return kind


def quietly(function: _F) -> _F:
    """Decorator: the same for one function."""
    if hasattr(function, "_is_quiet") or inspect.isgeneratorfunction(function):
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (Exception, Interrupted) as error:
            __tracebackhide__ = True  # for IPython, and pytest
            theirs = _users(error)
            if (
                theirs is None
                and _prompt.ipython_shell() is not None
                and not hasattr(error, "_render_traceback_")
            ):
                vars(error)["_render_traceback_"] = _prompt.format_last_error
            raise error.with_traceback(theirs)  # noqa: B904 (the same error)

    call._is_quiet = True  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def _users(error: BaseException) -> TracebackType | None:
    """The user's frames, and those of what they call.

    The standard library's are left out if we alone have called it.  For IPython's ``%debug``, the frame that
    raises what engines have raised stays.
    """
    frames = entries(error.__traceback__)
    theirs = [entry for entry in frames if not is_internal(file_of(entry))]
    if all(is_standard(file_of(entry)) for entry in theirs):
        theirs = []
    debugged = isinstance(error, (CompositeError, RemoteError)) and _prompt.ipython_shell() is not None
    last = frames[-1] if frames and debugged else None
    kept: TracebackType | None = None
    for entry in reversed(frames):
        if entry is last or entry in theirs:
            kept = TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return kept
