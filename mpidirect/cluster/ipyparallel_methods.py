"""The methods of ipyparallel's `Cluster`, for a cluster that is one MPI job."""

from __future__ import annotations

import functools
import shlex
import signal as signals
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, cast

from ..config.ipyparallel_keywords import profile_name
from ..files.profiles import Profile, recorded_id
from .state import ClusterState

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..client import Client

Params = ParamSpec("Params")
Result = TypeVar("Result")

ENGINES = dict.fromkeys(["mpi", "local", "mpirun"], "mpiexec")  # names of launchers in ipyparallel
ONE_JOB = "the engines and the controller are one MPI job, which starts and ends as a whole"


def launcher_name(engines: Any) -> str:
    """Return the launcher for a name of ipyparallel."""
    if not isinstance(engines, str):
        raise TypeError(f"engines is the name of a launcher ('mpi', 'slurm', …), not {engines!r}")
    return ENGINES.get(engines.lower(), engines.lower())


def _awaitable(
    method: Callable[Params, Result],
) -> Callable[Params, Coroutine[Any, Any, Result]]:
    """Return a coroutine function that calls the method in a thread."""

    @functools.wraps(method)
    async def call(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        import asyncio

        return await asyncio.to_thread(method, *args, **kwargs)

    name = method.__name__.removesuffix("_sync")
    call.__name__, call.__qualname__ = name, name
    call.__doc__ = f"`{method.__name__}`, to be awaited."
    return call


class EngineSet(NamedTuple):
    """The engines of a cluster, under ipyparallel's name.

    Attributes
    ----------
    engine_set_id : str
        The id of the cluster.
    n : int
        The number of engines.
    args : list of str
        The command that started the job, or the script that was submitted.
    """

    engine_set_id: str
    n: int
    args: list[str]


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
        def scheduled(self) -> bool: ...

        @property
        def connection_file(self) -> Path: ...

        def job_script(self) -> str: ...

        def start(self) -> Self: ...

        def wait(self, timeout: float | None = None) -> Self: ...

        def stop(self, timeout: float | None = None) -> None: ...

        def connect_client(self, timeout: float | None = None) -> Client: ...

    @property
    def cluster_id(self) -> str:
        """The id by which `Client` finds the cluster; empty before the start if none was given."""
        return self.profile.cluster_id or self.cluster

    @property
    def cluster_file(self) -> Path:
        """The record of the cluster that runs under the profile."""
        return self.profile.record_file

    @property
    def profile_dir(self) -> str:
        """The directory of the profile."""
        return str(self.profile.record_file.parent)

    @property
    def engine_set(self) -> EngineSet | None:
        """The engines: a cluster has one set of engines; None before its start."""
        if not self.started:
            return None
        script = self.job_script()
        args = [script] if self.scheduled else shlex.split(script, comments=True)
        return EngineSet(self.cluster, self.n, args)

    @property
    def engines(self) -> dict[str, EngineSet]:
        """The set of engines, by its id."""
        engines = self.engine_set
        return {} if engines is None else {engines.engine_set_id: engines}

    def start_cluster_sync(self, n: int | None = None) -> Self:
        """Start `n` engines and a controller, without waiting until they are ready."""
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
        if self.state is ClusterState.STOPPED:
            self.start_cluster_sync(n)
        client = self.connect_client()
        if activate:
            client.activate()
        return client

    def connect_client_sync(self, **client_kwargs: Any) -> Client:
        """Wait for the engines and return a new client.

        Parameters
        ----------
        **client_kwargs
            Keywords of `Client`.
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
        """Do nothing: the controller starts together with the engines, by `start_engines_sync`."""

    def start_engines_sync(
        self, n: int | None = None, engine_set_id: str | None = None, **options: Any
    ) -> str:
        """Start the cluster; return the id of its engines.

        Raises
        ------
        NotImplementedError
            When the cluster has engines already.
        """
        if self.state is not ClusterState.STOPPED:
            raise NotImplementedError(f"{ONE_JOB}: rc.resize(n) starts all engines anew with another number")
        return self.start_cluster_sync(n).cluster

    def stop_engines_sync(self, engine_set_id: str | None = None) -> None:
        """Raise an error: the engines end with their cluster."""
        raise NotImplementedError(f"{ONE_JOB}: stop_cluster_sync() ends it, rc.restart() starts engines anew")

    def stop_engine_sync(self, engine_id: Any) -> None:
        """Raise an error, like `stop_engines_sync`."""
        self.stop_engines_sync()

    def stop_controller_sync(self) -> None:
        """Raise an error: the controller ends with its engines."""
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
        """Send a signal to all engines; SIGINT interrupts their tasks."""
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

    # Clusters as data

    def to_dict(self) -> dict[str, Any]:
        """Return the data by which `from_dict` finds this cluster again."""
        return {
            "class": f"{type(self).__module__}.{type(self).__name__}",
            "cluster": {
                "profile": self.profile.directory.name,
                "cluster_id": self.cluster_id,
                "n": self.n,
            },
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any], **kwargs: Any) -> Self:
        """Return the cluster of `to_dict`."""
        return cls.from_file(profile=d["cluster"]["profile"], cluster_id=d["cluster"]["cluster_id"])

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
        """Return the cluster that runs under a profile; see `from_profile`.

        Parameters
        ----------
        cluster_file : path, optional
            Its `cluster_file`.
        profile, profile_dir : optional
            The profile.
        cluster_id : str
            The id of the cluster; empty for the profile's cluster without an id.
        """
        if cluster_file is not None:
            profile_dir, cluster_id = Path(cluster_file).parent, recorded_id(Path(cluster_file))
        name = profile_name(profile or "", profile_dir, cluster_id)
        return cast("Self", cls.from_profile(name))  # type: ignore[attr-defined]
