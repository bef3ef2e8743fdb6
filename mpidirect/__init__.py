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

from . import _cluster_lookup
from ._version import __version__

version_info = tuple(int(part) for part in __version__.split(".")[:3] if part.isdigit())

if TYPE_CHECKING:
    from . import error as error
    from . import errors as errors
    from .arrays.joining import register_join
    from .client import AsyncMapResult, AsyncResult, Client, DirectView, Reference, interactive, require
    from .client.executor import ViewExecutor
    from .client.results.asyncresult import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
    from .client.results.hubresult import AsyncHubResult
    from .client.views.balancedview import LoadBalancedView
    from .client.views.base import View
    from .client.views.directview import BroadcastView
    from .client.views.remotefunction import ParallelFunction, RemoteFunction, parallel, remote
    from .cluster.cluster import Cluster
    from .cluster.manager import ClusterManager
    from .errors import (
        AlreadyDisplayedError,
        CompositeError,
        DependencyTimeout,
        EngineError,
        ImpossibleDependency,
        InvalidDependency,
        IPythonError,
        KernelError,
        MPIDirectError,
        NoEnginesRegistered,
        RemoteError,
        TaskAborted,
        TaskRejectError,
        TaskTimeout,
        TimeoutError,
        UnmetDependency,
    )
    from .serialize.dependency import Dependency
    from .serialize.requirements import depend, dependent

_HOMES = {
    **dict.fromkeys(["AsyncMapResult", "AsyncResult", "Client", "DirectView"], "client"),
    "LoadBalancedView": "client.views.balancedview",
    **dict.fromkeys(["BroadcastView"], "client.views.directview"),
    "View": "client.views.base",
    "ViewExecutor": "client.executor",
    "AsyncHubResult": "client.results.hubresult",
    "Dependency": "serialize.dependency",
    "Reference": "serialize.reference",
    **dict.fromkeys(["depend", "dependent", "interactive", "require"], "serialize.requirements"),
    **dict.fromkeys(["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"], "client.results.asyncresult"),
    **dict.fromkeys(
        ["ParallelFunction", "RemoteFunction", "parallel", "remote"], "client.views.remotefunction"
    ),
    "register_join": "arrays.joining",
    "Cluster": "cluster.cluster",
    "ClusterManager": "cluster.manager",
    **dict.fromkeys(["CompositeError", "MPIDirectError", "RemoteError", "TimeoutError"], "errors"),
    **dict.fromkeys(["EngineError", "NoEnginesRegistered", "TaskAborted", "UnmetDependency"], "errors"),
    **dict.fromkeys(["ImpossibleDependency", "InvalidDependency", "TaskTimeout"], "errors"),
    **dict.fromkeys(["DependencyTimeout", "IPythonError", "KernelError"], "errors"),
    **dict.fromkeys(["AlreadyDisplayedError", "TaskRejectError"], "errors"),
}

__all__ = [
    "__version__",
    "error",
    "errors",
    "register_joblib_backend",
    "use_cloudpickle",
    "use_dill",
    "use_pickle",
    "version_info",
    *_HOMES,
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for."""
    if name in ("error", "errors"):  # ipyparallel's spelling, and ours
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _cluster_of_profile(profile: str) -> Any:
    from .cluster.cluster import Cluster

    return Cluster.from_profile(profile)


_cluster_lookup.cluster_of_profile = _cluster_of_profile


def register_joblib_backend(name: str = "mpidirect", make_default: bool = False) -> None:
    """Make joblib run on the default profile's cluster: ``with joblib.parallel_backend("mpidirect"): …``."""
    from .client import Client
    from .client.integrations.joblib import register

    register(name, make_default, connect=lambda: Client().load_balanced_view())


def use_cloudpickle() -> None:
    """Functions are always pickled by cloudpickle, and what it lacks is added: this changes nothing."""


def use_dill() -> None:
    """Functions are always pickled by cloudpickle, which knows what dill does: this changes nothing."""


def use_pickle() -> None:
    """Pickle with pickle what pickle knows, as always: the call changes nothing."""


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext mpidirect``: the magics ``%px``, ``%%px``, ``%autopx``, … without ``activate()``."""
    from .client import Client
    from .client.magics.activation import load

    load(shell, lambda: Client().direct_view(block=True))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
