"""Engines as a cluster of dask.distributed: a scheduler on one of them, a worker on each."""

from __future__ import annotations

from typing import Any

from ..interface import ClientInterface
from ..views.directview import DirectView

_servers: list[tuple[Any, Any]] = []  # on an engine: what runs there, with its loop


def become(
    client: ClientInterface,
    targets: Any,
    port: int,
    nanny: bool,
    scheduler_args: dict[str, Any],
    options: dict[str, Any],
) -> Any:
    """Start dask on engines; returns a client of dask's."""
    import distributed

    engines = client._session.engines.resolve(targets)
    arguments = {"port": port, "dashboard": False, **scheduler_args}
    address = DirectView(client, engines[0]).apply_sync(start_scheduler, arguments)
    options.setdefault("nthreads", 1)
    DirectView(client, engines).apply_sync(start_worker, address, nanny, options)
    return distributed.Client(address)


def start_scheduler(arguments: dict[str, Any]) -> str:
    """On an engine: start a scheduler; returns its address."""
    from distributed import Scheduler

    return _start(Scheduler, **arguments)


def start_worker(address: str, nanny: bool, options: dict[str, Any]) -> str:
    """On an engine: start a worker, in this process or in one of its own."""
    import distributed

    extra = {} if nanny else {"dashboard": False}
    return _start(distributed.Nanny if nanny else distributed.Worker, address, **{**extra, **options})


def _start(kind: Any, *args: Any, **kwargs: Any) -> str:
    from distributed.utils import LoopRunner

    async def begin() -> Any:
        return await kind(*args, **kwargs)

    runner = LoopRunner(asynchronous=False)
    runner.start()
    server = runner.run_sync(begin)
    _servers.append((server, runner))
    return str(server.address)


def stop() -> None:
    """On an engine: end what was started."""
    while _servers:
        server, runner = _servers.pop()
        runner.run_sync(server.close)
        runner.stop()
