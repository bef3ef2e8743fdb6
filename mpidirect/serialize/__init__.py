"""Objects, functions and modules as bytes."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Return a function that ipyparallel has in its module of this name."""
    if name in ("serialize_object", "deserialize_object"):
        from . import objects  # imported at first use: few programs need it

        return getattr(objects, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
