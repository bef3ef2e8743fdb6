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
    from .arrays.joining import register_join as register_join
    from .client import AsyncMapResult as AsyncMapResult
    from .client import AsyncResult as AsyncResult
    from .client import Client as Client
    from .client import DirectView as DirectView
    from .client import Reference as Reference
    from .client import interactive as interactive
    from .client import require as require
    from .client.executor import ViewExecutor as ViewExecutor
    from .client.results.asyncresult import ALL_COMPLETED as ALL_COMPLETED
    from .client.results.asyncresult import FIRST_COMPLETED as FIRST_COMPLETED
    from .client.results.asyncresult import FIRST_EXCEPTION as FIRST_EXCEPTION
    from .client.results.hubresult import AsyncHubResult as AsyncHubResult
    from .client.views.balancedview import LoadBalancedView as LoadBalancedView
    from .client.views.base import View as View
    from .client.views.directview import BroadcastView as BroadcastView
    from .client.views.remotefunction import ParallelFunction as ParallelFunction
    from .client.views.remotefunction import RemoteFunction as RemoteFunction
    from .client.views.remotefunction import parallel as parallel
    from .client.views.remotefunction import remote as remote
    from .cluster.cluster import Cluster as Cluster
    from .cluster.manager import ClusterManager as ClusterManager
    from .errors import AlreadyDisplayedError as AlreadyDisplayedError
    from .errors import CompositeError as CompositeError
    from .errors import DependencyTimeout as DependencyTimeout
    from .errors import EngineError as EngineError
    from .errors import ImpossibleDependency as ImpossibleDependency
    from .errors import InvalidDependency as InvalidDependency
    from .errors import IPythonError as IPythonError
    from .errors import KernelError as KernelError
    from .errors import MPIDirectError as MPIDirectError
    from .errors import NoEnginesRegistered as NoEnginesRegistered
    from .errors import RemoteError as RemoteError
    from .errors import TaskAborted as TaskAborted
    from .errors import TaskRejectError as TaskRejectError
    from .errors import TaskTimeout as TaskTimeout
    from .errors import TimeoutError as TimeoutError
    from .errors import UnmetDependency as UnmetDependency
    from .serialize.dependency import Dependency as Dependency
    from .serialize.objects import deserialize_object as deserialize_object
    from .serialize.objects import serialize_object as serialize_object
    from .serialize.requirements import depend as depend
    from .serialize.requirements import dependent as dependent

# Modules that ipyparallel's users reach from the package, such as `ipp.client.view.DirectView`.
_MODULES = frozenset({"client", "cluster", "error", "errors", "serialize", "util"})

_HOMES = {
    **dict.fromkeys(["AsyncMapResult", "AsyncResult", "Client", "DirectView"], "client"),
    "LoadBalancedView": "client.views.balancedview",
    **dict.fromkeys(["BroadcastView"], "client.views.directview"),
    "View": "client.views.base",
    "ViewExecutor": "client.executor",
    "AsyncHubResult": "client.results.hubresult",
    "Dependency": "serialize.dependency",
    "Reference": "serialize.reference",
    **dict.fromkeys(["deserialize_object", "serialize_object"], "serialize.objects"),
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
    """Import a public name when it is first used."""
    if name in _MODULES:
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
    """Change nothing: functions are always pickled by cloudpickle, with additions."""


def use_dill() -> None:
    """Change nothing: functions are always pickled by cloudpickle, which supports what dill does."""


def use_pickle() -> None:
    """Change nothing: objects are always pickled by pickle if it supports them."""


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext mpidirect``: ``%ipcluster``, and ``%px``, ``%autopx``, … without ``activate()``."""
    from .client import Client
    from .client.magics.activation import load
    from .cluster import magic

    load(shell, lambda: Client().direct_view(block=True))
    magic.register(shell)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
