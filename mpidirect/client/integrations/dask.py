"""Engines as a cluster of dask.distributed: a scheduler on one engine, a worker on each engine."""

from __future__ import annotations

from typing import Any

from ...serialize.functions import namespace
from ..interface import ClientInterface
from ..type_variables import EngineSelection
from ..views.directview import DirectView

_WORKER_NAMES = ("dask_worker", "distributed_worker")  # names of the worker in the namespace of its engine

_servers: list[tuple[Any, Any]] = []  # on an engine: the running servers, with their event loops


def become(
    client: ClientInterface,
    targets: EngineSelection,
    port: int,
    nanny: bool,
    scheduler_args: dict[str, Any],
    options: dict[str, Any],
) -> Any:
    """Start dask on engines; return a client of dask.

    Parameters
    ----------
    client : Client
        The client.
    targets : int or list of int
        The engines; the first one runs the scheduler.
    port : int
        The port of the scheduler; 0 for any.
    nanny : bool
        Whether each worker is a process of its own, which dask restarts.
    scheduler_args : dict
        Arguments of `distributed.Scheduler`.
    options : dict
        Arguments of `distributed.Worker` or `distributed.Nanny`.
    """
    import distributed

    engines = client._session.engines.resolve(targets)
    arguments = {"port": port, "dashboard": False, **scheduler_args}
    address = DirectView(client, engines[0]).apply_sync(start_scheduler, arguments)
    options.setdefault("nthreads", options.pop("ncores", 1))  # dask's former name
    DirectView(client, engines).apply_sync(start_worker, address, nanny, options)
    return distributed.Client(address)


def start_scheduler(arguments: dict[str, Any]) -> str:
    """On an engine: start a scheduler; return its address."""
    from distributed import Scheduler

    return str(_start(Scheduler, **arguments).address)


def start_worker(address: str, nanny: bool, options: dict[str, Any]) -> str:
    """On an engine: start a worker, in this process or in a process of its own; return its address."""
    import distributed

    extra = {} if nanny else {"dashboard": False}
    worker = _start(distributed.Nanny if nanny else distributed.Worker, address, **{**extra, **options})
    namespace().update(dict.fromkeys(_WORKER_NAMES, worker))
    return str(worker.address)


def _start(kind: Any, *args: Any, **kwargs: Any) -> Any:
    from distributed.utils import LoopRunner

    async def start() -> Any:
        return await kind(*args, **kwargs)

    runner = LoopRunner(asynchronous=False)
    runner.start()
    server = runner.run_sync(start)
    _servers.append((server, runner))
    return server


def stop() -> None:
    """On an engine: stop the servers."""
    while _servers:
        server, runner = _servers.pop()
        runner.run_sync(server.close)
        runner.stop()
        for name in _WORKER_NAMES:
            if namespace().get(name) is server:
                del namespace()[name]
