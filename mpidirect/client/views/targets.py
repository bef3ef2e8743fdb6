"""Engines as users give them."""

from __future__ import annotations

from typing import Any


def is_one(targets: Any) -> bool:
    """Whether these targets are one engine's number: then results are not lists.

    An array has an ``__index__``, too, which raises.
    """
    return hasattr(targets, "__index__") and not getattr(targets, "ndim", 0)
