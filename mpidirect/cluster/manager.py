"""ipyparallel's `ClusterManager`."""

from __future__ import annotations

from typing import Any

from ..errors import ClusterNotFound
from ..files.profiles import Profile, recorded_names
from ..launchers.jobs import new_cluster_id
from .cluster import Cluster
from .state import ClusterState


class ClusterManager:
    """The clusters that run, by their names: the profile's name, or ``PROFILE:ID``.

    Examples
    --------
    >>> ClusterManager().load_clusters()
    {'default': <Cluster default: 261127-101500-3f2a, 4 engines>}
    """

    def __init__(self) -> None:
        self.clusters: dict[str, Cluster] = {}

    def load_clusters(
        self, *, profiles: list[str] | None = None, profile: str | None = None, **options: Any
    ) -> dict[str, Cluster]:
        """Find the clusters that run: of all profiles, or of some.

        Parameters
        ----------
        profiles, profile : optional
            The names of profiles.

        Returns
        -------
        dict
            The clusters, by their names.
        """
        for key, cluster in list(self.clusters.items()):
            if cluster.started and cluster.state is ClusterState.STOPPED:
                del self.clusters[key]
        chosen = profiles or ([profile] if profile else None)
        names = recorded_names() if chosen is None else [n for p in chosen for n in Profile(p).recorded()]
        for name in names:
            if name not in self.clusters:
                try:
                    self.clusters[name] = Cluster.from_profile(name)
                except ClusterNotFound:
                    continue
        return self.clusters

    def new_cluster(self, **kwargs: Any) -> tuple[str, Cluster]:
        """Return the key of a new cluster, and the cluster, which is not started yet.

        Raises
        ------
        KeyError
            When there is a cluster with the given id.
        """
        cluster = Cluster(**kwargs)
        if cluster.profile.name in self.clusters and "cluster_id" not in kwargs:
            cluster = Cluster(**kwargs, cluster_id=new_cluster_id())
        key = cluster.profile.name
        if key in self.clusters:
            raise KeyError(f"Cluster {key} already exists!")
        self.clusters[key] = cluster
        return key, cluster

    def get_cluster(self, cluster_id: str) -> Cluster:
        """Return a cluster by its key."""
        return self.clusters[cluster_id]

    def remove_cluster(self, cluster_id: str) -> None:
        """Forget a cluster; the cluster goes on."""
        del self.clusters[cluster_id]
