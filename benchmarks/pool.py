"""``python -m benchmarks.pool``: tasks for whoever is free, beside others' pools, one after the other.

Each case is done by mpidirect's load-balanced view, ipyparallel's, ``mpi4py.futures`` and dask.distributed,
as far as they are installed. The times are medians, in milliseconds.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import click
from rich.console import Console
from rich.table import Table

CHUNK = 100  # items of a task, where that is given by hand
CHAINS, LINKS = 10, 50  # tasks that wait for the one before them

Pool = dict[str, Callable[..., Any]]


def nothing(x: Any = None) -> Any:
    """A task of no length."""
    return x


def lengths() -> list[float]:
    """The seconds of tasks whose lengths differ."""
    source = random.Random(1)
    return [source.uniform(0.001, 0.05) for _ in range(200)]


def measured(pool: Pool, repeat: int) -> dict[str, float]:
    """Each case that a pool has, so many times; medians in milliseconds."""
    cases: dict[str, Callable[[], Any]] = {
        "one": lambda: pool["one"](),
        "map-1": lambda: pool["map"](nothing, range(1000), 1),
        "map-auto": lambda: pool["map"](nothing, range(10_000), pool.get("chunk", lambda: CHUNK)()),
        "random": lambda: pool["map"](time.sleep, lengths(), 1),
    }
    if "chains" in pool:
        cases["chains"] = pool["chains"]
    found = {}
    for key, case in cases.items():
        case()
        times = []
        for _ in range(repeat * (20 if key == "one" else 1)):
            began = time.perf_counter()
            case()
            times.append(time.perf_counter() - began)
        found[key] = 1000 * median(times)
    return found


@contextlib.contextmanager
def mpidirect_pool(n: int) -> Iterator[Pool]:
    """Start a cluster; yield a pool on the load-balanced view of mpidirect."""
    import mpidirect

    with tempfile.TemporaryDirectory() as directory:
        os.environ["MPIDIRECT_DIR"] = directory
        with mpidirect.Cluster(n=n) as rc:
            lview = rc.load_balanced_view()
            yield _view(lview) | {"chunk": lambda: "auto"}


@contextlib.contextmanager
def ipyparallel_pool(n: int) -> Iterator[Pool]:
    """Start a cluster; yield a pool on the load-balanced view of ipyparallel."""
    import ipyparallel

    with tempfile.TemporaryDirectory() as directory:
        os.environ["IPYTHONDIR"] = directory
        with ipyparallel.Cluster(n=n, log_level=logging.ERROR) as rc:
            rc.wait_for_engines(n, interactive=False)
            yield _view(rc.load_balanced_view())


def _view(lview: Any) -> Pool:
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

    return {
        "one": lambda: lview.apply_sync(nothing),
        "map": lambda f, items, chunk: lview.map_sync(f, items, chunksize=chunk),
        "chains": chains,
    }


@contextlib.contextmanager
def dask_pool(n: int) -> Iterator[Pool]:
    """dask.distributed, with a process for each worker."""
    import distributed

    where = {"n_workers": n, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(silence_logs=logging.ERROR, **where) as cluster,
        distributed.Client(cluster) as client,
    ):

        def run(f: Callable[..., Any], items: Any, chunk: int) -> list[Any]:
            if chunk == 1:
                return client.gather(client.map(f, items, pure=False))
            parts = [list(items)[k : k + chunk] for k in range(0, len(items), chunk)]
            return client.gather(client.map(_each, parts, pure=False))

        def chains() -> None:
            last = []
            for _ in range(CHAINS):
                future = client.submit(nothing, pure=False)
                for _ in range(LINKS - 1):
                    future = client.submit(nothing, future, pure=False)
                last.append(future)
            client.gather(last)

        one = {"one": lambda: client.submit(nothing, pure=False).result()}
        yield {**one, "map": run, "chains": chains}


def _each(items: list[Any]) -> list[Any]:
    return [nothing(item) for item in items]


def by_mpi4py(n: int, repeat: int) -> dict[str, float]:
    """``mpi4py.futures``: a job of its own, whose first rank measures."""
    from .floor import end, mpiexec

    process = mpiexec(n + 1, ["-m", __spec__.name, "--mpi4py", str(repeat)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        return json.loads(process.stdout.read())
    finally:
        end(process, 10)


def _in_mpi4py(repeat: int) -> None:
    from mpi4py.futures import MPICommExecutor

    with MPICommExecutor() as pool:
        if pool is not None:
            functions: Pool = {
                "one": lambda: pool.submit(nothing).result(),
                "map": lambda f, items, chunk: list(pool.map(f, items, chunksize=chunk)),
            }
            print(json.dumps(measured(functions, repeat)), flush=True)


SYSTEMS = {"mpidirect": mpidirect_pool, "ipyparallel": ipyparallel_pool, "dask": dask_pool}
TITLES = {
    "one": "one task, there and back",
    "map-1": "1,000 tasks of no length, one by one",
    "map-auto": f"10,000 (chunks of {CHUNK}; here chosen by itself)",
    "random": "200 tasks of 1 to 50 ms",
    "chains": f"{CHAINS * LINKS} tasks, each of which waits for the one before",
}


@click.command()
@click.option("--engines", type=int, default=4, show_default=True)
@click.option("--repeat", type=click.IntRange(1), default=5, show_default=True)
@click.option("--only", default="", help="One of the systems.")
@click.option("--mpi4py", type=int, hidden=True)
def main(engines: int, repeat: int, only: str, mpi4py: int | None) -> None:
    """Measure pools on this machine."""
    if mpi4py is not None:
        _in_mpi4py(mpi4py)
        return
    results: dict[str, dict[str, float]] = {}
    for name, start in SYSTEMS.items():
        if only and name != only:
            continue
        try:
            with start(engines) as pool:
                results[name] = measured(pool, repeat)
        except ImportError as e:
            print(f"{name} is left out: {e}", file=sys.stderr)
    if only in ("", "mpi4py.futures"):
        results["mpi4py.futures"] = by_mpi4py(engines, repeat)
    table = Table(title=f"{engines} engines, ms; perfect schedule: {1000 * sum(lengths()) / engines:.0f}")
    table.add_column("")
    for name in results:
        table.add_column(name, justify="right")
    for key, title in TITLES.items():
        cells = [f"{times[key]:.3g}" if key in times else "" for times in results.values()]
        table.add_row(title, *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
