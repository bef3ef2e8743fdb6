"""A cluster: its start, its state, its end, and what it leaves behind."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Return a class that ipyparallel has in its module of this name."""
    if name == "Cluster":
        from .cluster import Cluster  # imported only now, as the modules of this package need no cluster

        return Cluster
    if name == "ClusterManager":
        from .manager import ClusterManager

        return ClusterManager
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
