"""IPython's direct (multiengine) interface on MPI: hold n Python engines from one prompt.

>>> from mpidirect import Client
>>> rc = Client()
>>> dv = rc[:]
>>> dv.map_sync(lambda x: x**2, range(4))
[0, 1, 4, 9]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from . import error as error
    from . import errors as errors
    from .client import AsyncMapResult, AsyncResult, Client, DirectView, Reference, interactive, require
    from .client.asyncresult import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
    from .client.remotefunction import ParallelFunction, RemoteFunction, parallel, remote
    from .cluster import Cluster
    from .errors import (
        CompositeError,
        EngineError,
        MPIDirectError,
        NoEnginesRegistered,
        RemoteError,
        TaskAborted,
        TimeoutError,
        UnmetDependency,
    )

_HOMES = {
    **dict.fromkeys(["AsyncMapResult", "AsyncResult", "Client", "DirectView"], "client"),
    **dict.fromkeys(["Reference", "interactive", "require"], "dependency"),
    **dict.fromkeys(["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"], "client.asyncresult"),
    **dict.fromkeys(["ParallelFunction", "RemoteFunction", "parallel", "remote"], "client.remotefunction"),
    "Cluster": "cluster",
    **dict.fromkeys(["CompositeError", "MPIDirectError", "RemoteError", "TimeoutError"], "errors"),
    **dict.fromkeys(["EngineError", "NoEnginesRegistered", "TaskAborted", "UnmetDependency"], "errors"),
}

__all__ = ["__version__", "error", "errors", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for."""
    if name in ("error", "errors"):  # ipyparallel's spelling, and ours
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext mpidirect``: the magics ``%px``, ``%%px``, ``%autopx``, … without ``activate()``."""
    from .client.magics import load

    load(shell)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
