"""mpidirect under ipyparallel's name, with the modules that ipyparallel's own tests import."""

from __future__ import annotations

import pickle
import sys
import types
from datetime import timezone
from typing import Any

import cloudpickle

import mpidirect
import mpidirect.client.client
import mpidirect.datapub
from mpidirect import *  # noqa: F403
from mpidirect import error
from mpidirect.client.integrations.joblib import MPIDirectBackend
from mpidirect.client.views.lazy_map import LazyMap


def __getattr__(name: str) -> Any:
    return getattr(mpidirect, name)


def register_joblib_backend(name: str = "ipyparallel", make_default: bool = False) -> None:
    """Register joblib's backend under the default name that ipyparallel gives it."""
    mpidirect.register_joblib_backend(name, make_default)


class Client(mpidirect.Client):
    """A client with private methods that the tests call."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Client:
        """Make a client; a test replaces this method for a while."""
        return super().__new__(cls)

    @property
    def _ids(self) -> list[int]:
        return self._session.engines.ids

    def _build_targets(self, targets: Any) -> tuple[list[bytes], list[int]]:
        """Return the identities of engines, which mpidirect does not have, and the engines' ids."""
        return [], self._session.engines.resolve(targets)


class Cluster(mpidirect.Cluster):
    """A cluster whose engines can be stopped apart from its controller, in name only."""

    def stop_engines(self) -> None:
        """Leave the engines: they end with the controller."""

    def stop_controller(self) -> None:
        """Stop the cluster."""
        self.stop()


def _module(name: str, **names: Any) -> types.ModuleType:
    module = types.ModuleType(f"{__name__}.{name}")
    vars(module).update(names, __path__=[])
    sys.modules[module.__name__] = module
    return module


class _LocalControllerLauncher:
    """A base of controllers with another database of tasks; mpidirect has none."""


sys.modules[f"{__name__}.error"] = error
sys.modules[f"{__name__}.datapub"] = mpidirect.datapub
util = _module("util", utc=timezone.utc, interactive=mpidirect.interactive)
client = _module("client", client=mpidirect.client.client)
sys.modules[f"{__name__}.client.client"] = mpidirect.client.client
_module("client.view", LazyMapIterator=LazyMap, LoadBalancedView=mpidirect.LoadBalancedView)
_module("client._joblib", IPythonParallelBackend=MPIDirectBackend)
_module("cluster")
_module("cluster.launcher", LocalControllerLauncher=_LocalControllerLauncher)


def _uncan(pickled: bytes, names: dict[str, Any] | None = None) -> Any:
    return pickle.loads(pickled)


_module("serialize", can=cloudpickle.dumps, uncan=_uncan)
