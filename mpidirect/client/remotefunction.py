"""Functions that run on engines, under the name that ipyparallel gives this module."""

from __future__ import annotations

from .views.remotefunction import ParallelFunction, RemoteFunction, parallel, remote

__all__ = ["ParallelFunction", "RemoteFunction", "parallel", "remote"]
