"""What ipyparallel's `Cluster` and `ClusterManager` offer, made of what a cluster is here: one MPI job."""

from __future__ import annotations

import functools
import signal as signals
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ClusterNotFound
from ..files.profiles import profile_names

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..client import Client
    from ..files.profiles import Profile
    from .cluster import Cluster, ClusterState

ENGINES = {"mpi": "mpiexec", "local": "mpiexec", "mpiexec": "mpiexec"}  # ipyparallel's names of launchers
ONE_JOB = "the engines and the controller are one MPI job, which starts and ends as a whole"


def launcher_of(engines: Any) -> str:
    """The launcher that a name of ipyparallel's stands for."""
    if not isinstance(engines, str):
        raise TypeError(f"engines is the name of a launcher ('mpi', 'slurm', …), not {engines!r}")
    return ENGINES.get(engines.lower(), engines.lower())


def _awaitable(method: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The method for ``await``: in a thread."""

    @functools.wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        import asyncio

        return await asyncio.to_thread(method, *args, **kwargs)

    name = method.__name__.removesuffix("_sync")
    call.__name__, call.__qualname__ = name, name
    call.__doc__ = f"`{method.__name__}`, to be awaited."
    return call


class IPyParallelMethods:
    """ipyparallel's methods of a cluster, with and without ``_sync``."""

    profile: Profile

    if TYPE_CHECKING:
        _given: dict[str, Any]

        @property
        def cluster(self) -> str: ...

        @property
        def n(self) -> int: ...

        @property
        def state(self) -> ClusterState: ...

        @property
        def started(self) -> bool: ...

        @property
        def connection_file(self) -> Path: ...

        def start(self) -> Self: ...

        def wait(self, timeout: float | None = None) -> Self: ...

        def stop(self, timeout: float | None = None) -> None: ...

        def connect_client(self, timeout: float | None = None) -> Client: ...

    @property
    def cluster_id(self) -> str:
        """The id of the cluster; empty before its start."""
        return self.cluster

    @property
    def cluster_file(self) -> Path:
        """The file that says what runs under the profile."""
        return self.profile.record_file

    @property
    def profile_dir(self) -> str:
        """The directory of the profile."""
        return str(self.profile.record_file.parent)

    @property
    def engine_set(self) -> dict[str, int]:
        """The engines: one set, of so many."""
        return {self.cluster: self.n} if self.started else {}

    def start_cluster_sync(self, n: int | None = None) -> Self:
        """Start `n` engines and a controller; does not wait until they are ready."""
        if n is not None:
            self._given["n"] = n
        return self.start()

    def start_and_connect_sync(self, n: int | None = None, activate: bool = False) -> Client:
        """Start the cluster, wait for its engines, and return a client.

        Parameters
        ----------
        n : int, optional
            The number of engines.
        activate : bool
            Make IPython's magics work on all of them.
        """
        from .cluster import ClusterState

        if self.state is ClusterState.STOPPED:
            self.start_cluster_sync(n)
        client = self.connect_client()
        if activate:
            client.activate()
        return client

    def connect_client_sync(self, **client_kwargs: Any) -> Client:
        """A new client; waits for the engines first.

        Parameters
        ----------
        **client_kwargs
            Those of `Client`.
        """
        timeout = client_kwargs.pop("timeout", None)
        if not client_kwargs:
            return self.connect_client(timeout)
        from ..client import Client

        self.wait(timeout)
        return Client(str(self.connection_file), **client_kwargs)

    def stop_cluster_sync(self) -> None:
        """Stop the cluster."""
        self.stop()

    def start_controller_sync(self, **options: Any) -> None:
        """Refused: there is no controller without engines."""
        raise NotImplementedError(f"{ONE_JOB}: call start_cluster_sync(n)")

    def start_engines_sync(
        self, n: int | None = None, engine_set_id: str | None = None, **options: Any
    ) -> None:
        """Refused: rc.resize(n) starts all engines anew, as many as are wanted."""
        raise NotImplementedError(f"{ONE_JOB}: rc.resize(n) starts all engines anew with another number")

    def stop_engines_sync(self, engine_set_id: str | None = None) -> None:
        """Refused: a cluster has engines as long as it is there."""
        raise NotImplementedError(f"{ONE_JOB}: stop_cluster_sync() ends it, rc.restart() starts engines anew")

    def stop_engine_sync(self, engine_id: Any) -> None:
        """Refused, as `stop_engines_sync`."""
        self.stop_engines_sync()

    def stop_controller_sync(self) -> None:
        """Refused: the controller ends with its engines."""
        raise NotImplementedError(f"{ONE_JOB}: stop_cluster_sync() ends it")

    def restart_engines_sync(self, engine_set_id: str | None = None) -> None:
        """Start all engines anew, with empty namespaces; see `Client.restart`."""
        with self.connect_client() as client:
            client.restart()

    def restart_engine_sync(self, engine_id: Any) -> None:
        """Start one engine anew."""
        with self.connect_client() as client:
            client.restart([int(engine_id)])

    def signal_engines_sync(self, signum: int, engine_set_id: str | None = None) -> None:
        """Send a signal to all engines; SIGINT interrupts what they run."""
        with self.connect_client() as client:
            client.send_signal(signals.Signals(signum))

    def signal_engine_sync(self, signum: int, engine_id: Any) -> None:
        """Send a signal to one engine."""
        with self.connect_client() as client:
            client.send_signal(signals.Signals(signum), int(engine_id))

    start_cluster = _awaitable(start_cluster_sync)
    start_and_connect = _awaitable(start_and_connect_sync)
    stop_cluster = _awaitable(stop_cluster_sync)
    start_controller = _awaitable(start_controller_sync)
    start_engines = _awaitable(start_engines_sync)
    stop_engines = _awaitable(stop_engines_sync)
    stop_engine = _awaitable(stop_engine_sync)
    stop_controller = _awaitable(stop_controller_sync)
    restart_engines = _awaitable(restart_engines_sync)
    restart_engine = _awaitable(restart_engine_sync)
    signal_engines = _awaitable(signal_engines_sync)
    signal_engine = _awaitable(signal_engine_sync)

    # -- as data ---------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """What finds this cluster again, by `from_dict`."""
        return {
            "class": f"{type(self).__module__}.{type(self).__name__}",
            "cluster": {"profile": self.profile.name, "cluster_id": self.cluster, "n": self.n},
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any], **kwargs: Any) -> Self:
        """The cluster that `to_dict` told of."""
        return cls.from_file(profile=d["cluster"]["profile"])

    @classmethod
    def from_file(
        cls,
        cluster_file: Any = None,
        *,
        profile: str | None = None,
        profile_dir: Any = None,
        cluster_id: str = "",
        **kwargs: Any,
    ) -> Self:
        """The cluster that runs under a profile; see `from_profile`.

        Parameters
        ----------
        cluster_file : path, optional
            Its `cluster_file`.
        profile, profile_dir, cluster_id : optional
            The profile.
        """
        from ..config.ipyparallel_keywords import profile_of

        if cluster_file is not None:
            profile_dir = Path(cluster_file).parent
        return cls.from_profile(profile_of(profile or "", profile_dir, cluster_id))  # type: ignore[attr-defined]


class ClusterManager:
    """The clusters that run, by their profiles.

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
        """Look for clusters that run: of all profiles, or of some."""
        from .cluster import Cluster, ClusterState

        for key, cluster in list(self.clusters.items()):
            if cluster.started and cluster.state is ClusterState.STOPPED:
                del self.clusters[key]
        for name in profiles or ([profile] if profile else profile_names()):
            if name not in self.clusters:
                try:
                    self.clusters[name] = Cluster.from_profile(name)
                except ClusterNotFound:
                    continue
        return self.clusters

    def new_cluster(self, **kwargs: Any) -> tuple[str, Cluster]:
        """A cluster that is not started yet, and its key."""
        from .cluster import Cluster

        cluster = Cluster(**kwargs)
        key = cluster.profile.name
        if key in self.clusters:
            raise KeyError(f"Cluster {key} already exists!")
        self.clusters[key] = cluster
        return key, cluster

    def get_cluster(self, cluster_id: str) -> Cluster:
        """A cluster by its key."""
        return self.clusters[cluster_id]

    def remove_cluster(self, cluster_id: str) -> None:
        """Forget a cluster, which goes on."""
        del self.clusters[cluster_id]
