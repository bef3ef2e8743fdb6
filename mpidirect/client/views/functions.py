"""The function of a call, as the user gives it."""

from __future__ import annotations

from typing import Any

from ...serialize.reference import Reference


def check_callable(f: Any) -> None:
    """Raise an error for an object that can't be called on the engines, before anything is sent.

    Raises
    ------
    TypeError
        When `f` is neither a callable nor a `Reference`.
    """
    if not callable(f) and not isinstance(f, Reference):
        hint = f'; the name of an engine\'s function is  Reference("{f}")' if isinstance(f, str) else ""
        raise TypeError(f"{f!r} can't be called, so it can't be applied{hint}")


def function_name(f: Any) -> str:
    """Return the name of `f` for errors; `f` may be a partial, an instance or a `Reference`."""
    if isinstance(f, Reference):
        return f.name
    inner = getattr(f, "func", f)
    return str(getattr(inner, "__name__", type(f).__name__))
