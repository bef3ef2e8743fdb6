"""What a user gives as the function of a call."""

from __future__ import annotations

from typing import Any

from ...serialize.reference import Reference


def check(f: Any) -> None:
    """Refuse what can't be called on the engines, before anything is sent."""
    if not callable(f) and not isinstance(f, Reference):
        hint = f'; the name of an engine\'s function is  Reference("{f}")' if isinstance(f, str) else ""
        raise TypeError(f"{f!r} can't be called, so it can't be applied{hint}")


def name_of(f: Any) -> str:
    """What to call `f` in errors: it may be a partial, an instance, or a function of the engines."""
    if isinstance(f, Reference):
        return f.name
    inner = getattr(f, "func", f)
    return getattr(inner, "__name__", type(f).__name__)
