"""The user's side: the client, its views and its results."""

from __future__ import annotations

import importlib
from typing import Any

from ..serialize.reference import Reference
from ..serialize.requirements import interactive, require
from .client import Client
from .results.asyncmapresult import AsyncMapResult
from .results.asyncresult import AsyncResult
from .views.directview import DirectView

__all__ = ["AsyncMapResult", "AsyncResult", "Client", "DirectView", "Reference", "interactive", "require"]

_MODULES = frozenset({"asyncresult", "remotefunction", "view"})  # ipyparallel's users reach them from here


def __getattr__(name: str) -> Any:
    """Import a module that has ipyparallel's name for it."""
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
