"""Pools of tasks of four systems, with the same functions."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

CHAINS, LINKS = 100, 100  # chains of tasks, and tasks of a chain


class Map(Protocol):
    """Map a function over items."""

    def __call__(self, f: Callable[[Any], Any], items: Sequence[Any], chunk: Any) -> list[Any]: ...


class Pool(NamedTuple):
    """The functions of one system.

    Attributes
    ----------
    one : callable
        Run one task, and wait for its result.
    map : callable
        Map a function over items; `chunk` is the number of items of a task.
    chunk : int or str
        The number of items of a task for many tasks without length.
    chains : callable, optional
        Run chains of tasks; each task waits for the previous task of its chain.
    survives : bool
        Whether the system continues after the death of a worker.
    """

    one: Callable[[], Any]
    map: Map
    chunk: Any = 100
    chains: Callable[[], Any] | None = None
    survives: bool = False


def nothing(x: Any = None) -> Any:
    """Do nothing: a task without length."""
    return x


def noted(log: Path, mark: Path, victim: int, x: int) -> int:
    """Note in a file that this task has run; the first run of the task `victim` kills its worker."""
    if x == victim and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    with log.open("ab", buffering=0) as file:
        file.write(b"%d\n" % x)
    return x


@contextlib.contextmanager
def mpidirect_pool(n: int) -> Iterator[Pool]:
    """Start a cluster of mpidirect; yield a pool on the load-balanced view."""
    import mpidirect

    with tempfile.TemporaryDirectory() as directory:
        os.environ["MPIDIRECT_DIR"] = directory
        with mpidirect.Cluster(n=n) as rc:
            yield _pool_of_view(rc.load_balanced_view(retries=1), "auto")


@contextlib.contextmanager
def ipyparallel_pool(n: int) -> Iterator[Pool]:
    """Start a cluster of ipyparallel; yield a pool on the load-balanced view."""
    import ipyparallel

    with tempfile.TemporaryDirectory() as directory:
        os.environ["IPYTHONDIR"] = directory
        with ipyparallel.Cluster(n=n, log_level=logging.ERROR) as rc:
            rc.wait_for_engines(n, interactive=False)
            view = rc.load_balanced_view()
            view.set_flags(retries=1)
            yield _pool_of_view(view, 100)


def _pool_of_view(lview: Any, chunk: Any) -> Pool:
    def chains() -> None:
        last = []
        for _ in range(CHAINS):
            lview.set_flags(after=None)
            result = lview.apply_async(nothing)
            for _ in range(LINKS - 1):
                lview.set_flags(after=result)
                result = lview.apply_async(nothing)
            last.append(result)
        lview.set_flags(after=None)
        for result in last:
            result.get()

    def run(f: Callable[[Any], Any], items: Sequence[Any], chunk: Any) -> list[Any]:
        return list(lview.map_sync(f, items, chunksize=chunk))

    return Pool(lambda: lview.apply_sync(nothing), run, chunk, chains, survives=True)


@contextlib.contextmanager
def dask_pool(n: int) -> Iterator[Pool]:
    """Start a process of dask.distributed for each worker; yield a pool on a client."""
    import distributed

    where = {"n_workers": n, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(silence_logs=logging.CRITICAL, **where) as cluster,
        distributed.Client(cluster) as client,
    ):

        def run(f: Callable[[Any], Any], items: Sequence[Any], chunk: Any) -> list[Any]:
            if chunk == 1:
                return list(client.gather(client.map(f, items, pure=False)))
            parts = [list(items)[k : k + chunk] for k in range(0, len(items), chunk)]
            done = client.gather(client.map(lambda part: [f(x) for x in part], parts, pure=False))
            return [value for part in done for value in part]

        def chains() -> None:
            last = []
            for _ in range(CHAINS):
                future = client.submit(nothing, pure=False)
                for _ in range(LINKS - 1):
                    future = client.submit(nothing, future, pure=False)
                last.append(future)
            client.gather(last)

        one = lambda: client.submit(nothing, pure=False).result()  # noqa: E731
        yield Pool(one, run, 100, chains, survives=True)


def futures_pool(executor: Any) -> Pool:
    """Return a pool on an executor of ``mpi4py.futures``; the job ends when a worker dies."""

    def run(f: Callable[[Any], Any], items: Sequence[Any], chunk: Any) -> list[Any]:
        return list(executor.map(f, items, chunksize=chunk))

    return Pool(lambda: executor.submit(nothing).result(), run)
