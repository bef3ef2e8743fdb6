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

    registered = True  # IPython requires this of a class whose magics are named per instance

    def __init__(self, shell: Any) -> None:
        self.magics: dict[str, dict[str, Any]] = {"line": {"ipcluster": self.ipcluster}, "cell": {}}
        self._cluster: Cluster | None = None
        super().__init__(shell=shell)

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
        ready = "1 engine is ready" if len(client) == 1 else f"{len(client)} engines are ready"
        print(f"{ready}: %px, %%px and %autopx run code there.")

    def _stop(self) -> None:
        if self._cluster is None:
            print("No cluster was started here.")
            return
        cluster, self._cluster = self._cluster, None
        cluster.stop()
        print("The cluster is stopped.")


def register(shell: Any) -> None:
    """Register the magic ``%ipcluster`` with a shell."""
    shell.magics_manager.register(ClusterMagics(shell))
