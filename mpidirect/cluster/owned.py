"""The clusters that this process has started and that end with it."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Protocol


class OwnedCluster(Protocol):
    """A cluster that can be stopped at the exit of this process."""

    def stop_at_exit(self) -> None:
        """Stop the cluster without starting a thread."""


_owners: dict[OwnedCluster, int] = {}  # the process number of each cluster's owner


def own(cluster: OwnedCluster) -> None:
    """Let a cluster end with this process."""
    _owners[cluster] = os.getpid()


def release(cluster: OwnedCluster) -> bool:
    """Let a cluster outlive this process; return whether it would have ended with the process."""
    return _owners.pop(cluster, None) is not None


@atexit.register
def _stop_owned_clusters() -> None:
    """Stop the clusters of this process; a forked child has none."""
    for cluster in [cluster for cluster, pid in _owners.items() if pid == os.getpid()]:
        try:
            cluster.stop_at_exit()
        except Exception as e:  # the other clusters must be stopped as well
            print(f"{cluster} could not be stopped: {e}", file=sys.stderr)
