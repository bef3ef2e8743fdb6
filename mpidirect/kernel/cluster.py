"""The cluster of a kernel: a running one, or one that the kernel starts and that ends with the notebook."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ..client import Client
from ..cluster.cluster import Cluster
from ..cluster.state import ClusterState
from ..errors import ClusterNotFound
from ..job.process_identity import parent_process

Tell = Callable[[str], None]


class KernelCluster:
    """Connects to the cluster of a profile, and starts a cluster if none runs.

    A cluster that a kernel has started ends with the notebook: when the kernel is shut down, or when the
    process that runs kernels (the Jupyter server) ends.  The cluster outlives a restart of the kernel; the
    next process of the kernel takes it over. A cluster that was started in another way continues.

    Parameters
    ----------
    profile : str
        The profile.
    n : int or None
        The number of engines of a cluster that the kernel starts; None for the profile's number.
    kernel : str
        The id of the kernel, the same after its restart.
    """

    def __init__(self, profile: str, n: int | None, kernel: str) -> None:
        self._profile = profile
        self._n = n
        self._kernel = kernel
        self._cluster: Cluster | None = None
        self.client: Client | None = None

    def connect(self, tell: Tell) -> Client:
        """Return the client; start the cluster and wait for its engines if necessary.

        Parameters
        ----------
        tell : callable
            Called with a text that says what the kernel waits for.
        """
        if self.client is not None and not self.client._session.is_over:
            return self.client
        try:
            cluster = Cluster.from_profile(self._profile)
            if cluster.state in (ClusterState.STOPPED, ClusterState.DEAD):
                raise ClusterNotFound("the last cluster has ended")
        except ClusterNotFound:
            cluster = self._start(tell)
        self._cluster = cluster
        self.client = cluster.connect_client(
            watch=lambda what, ready, n: tell(f"{what} ({ready} of {n} engines are ready)")
        )
        return self.client

    def restart(self) -> None:
        """End all engines and start new ones; the next process of the kernel uses the new ones."""
        if self.client is not None:
            self.client.restart()

    def shut_down(self) -> None:
        """Close the client; stop the cluster if this kernel has started it."""
        if self.client is not None:
            self.client.close()
        if self._cluster is not None and self._is_ours(self._cluster):
            self._cluster.stop()
            self._mark.unlink(missing_ok=True)

    def _start(self, tell: Tell) -> Cluster:
        tell("starting a cluster")
        cluster = Cluster(self._n, profile=self._profile, cluster_id="", shutdown_atexit=False)
        cluster.start(owner=parent_process())
        self._mark_of(cluster).write_text(json.dumps({"cluster": cluster.cluster, "kernel": self._kernel}))
        return cluster

    def _is_ours(self, cluster: Cluster) -> bool:
        try:
            known = json.loads(self._mark_of(cluster).read_text())
        except (OSError, ValueError):
            return False
        return bool(known == {"cluster": cluster.cluster, "kernel": self._kernel})

    @property
    def _mark(self) -> Path:
        assert self._cluster is not None
        return self._mark_of(self._cluster)

    @staticmethod
    def _mark_of(cluster: Cluster) -> Path:
        return cluster.profile.directory / "kernel.json"
