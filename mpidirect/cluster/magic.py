"""The magic ``%ipcluster``: start and stop a cluster at IPython's prompt or in a notebook."""

from __future__ import annotations

from typing import Any

from ..client.magics.typed_ipython import Magics, argument, magic_arguments, parse_argstring
from .cluster import Cluster


class ClusterMagics(Magics):
    """The magic ``%ipcluster`` of one shell.

    Parameters
    ----------
    shell : InteractiveShell
        The shell.
    """

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._cluster: Cluster | None = None

    @magic_arguments("%ipcluster")
    @argument("action", choices=["start", "stop", "status"], help="what to do")
    @argument("-n", "--num_engines", type=int, help="number of engines (default: one per core)")
    @argument("--launcher", help="how to start the job: mpi, slurm, … (default: the profile's)")
    @argument("--profile", default="", help="the profile of the cluster")
    def ipcluster(self, line: str) -> None:
        """Start a cluster and activate %px for its engines, or stop this cluster.

        The cluster ends with this process.

        ::

            %ipcluster start -n 4
            %px rank
            %ipcluster stop
        """
        args = parse_argstring(self.ipcluster, line)
        if args.action == "start":
            self._start(args.num_engines, args.launcher, args.profile)
        elif args.action == "stop":
            self._stop()
        else:
            print("No cluster was started here." if self._cluster is None else repr(self._cluster))

    def _start(self, n: int | None, launcher: str | None, profile: str) -> None:
        if self._cluster is not None:
            print(f"{self._cluster!r} runs already.")
            return
        cluster = Cluster(n, engines=launcher, profile=profile)
        client = cluster.start_and_connect_sync(activate=True)
        self._cluster = cluster
        print(f"{len(client)} engines are ready: %px, %%px, %autopx run code on all of them.")

    def _stop(self) -> None:
        if self._cluster is None:
            print("No cluster was started here.")
            return
        cluster, self._cluster = self._cluster, None
        cluster.stop()
        print("The cluster is stopped.")


def register(shell: Any) -> None:
    """Register the magic ``%ipcluster`` with a shell."""
    shell.register_magic_function(ClusterMagics(shell).ipcluster, "line", "ipcluster")
