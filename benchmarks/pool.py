"""``python -m benchmarks.pool``: tasks for any free worker, with mpidirect and other pools, in one run.

Each case is measured with the load-balanced views of mpidirect and ipyparallel, with ``mpi4py.futures`` and
with dask.distributed, if they are installed. The systems run one after the other. The times are medians, in
milliseconds.
"""

from __future__ import annotations

import functools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.table import Table

from .interruption import end_by_signals
from .pools import (
    CHAINS,
    LINKS,
    Pool,
    dask_pool,
    futures_pool,
    ipyparallel_pool,
    mpidirect_pool,
    noted,
    nothing,
)

FUTURES = "mpi4py.futures"
SYSTEMS = {"mpidirect": mpidirect_pool, "ipyparallel": ipyparallel_pool, "dask": dask_pool}
MANY = 10_000
VICTIM = MANY // 2  # the task whose worker dies

Times = dict[str, float]  # milliseconds, by case


class Case(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    title : str
        A description of the case.
    repeat : float
        The number of measurements, as a factor of ``--repeat``.
    targets : dict
        How many times faster than the other systems mpidirect should be.
    """

    title: str
    repeat: float
    targets: dict[str, float]


CASES = {
    "one": Case("one task, there and back", 20, {FUTURES: 7, "dask": 25}),
    "map-1": Case("1,000 tasks of no length, one by one", 1, {FUTURES: 4, "dask": 25}),
    "map-auto": Case(f"{MANY:,} tasks: chunks of 100; mpidirect: 'auto'", 1, {FUTURES: 1}),
    "random": Case("200 tasks of 1 to 50 ms", 0.4, {}),
    "chains": Case(f"{CHAINS * LINKS:,} tasks in {CHAINS} chains", 0.2, {"dask": 10}),
    "death": Case(f"{MANY:,} tasks, a worker dies in the middle", 0, {}),
}


def lengths() -> list[float]:
    """Return the seconds of tasks of different lengths."""
    source = random.Random(1)
    return [source.uniform(0.001, 0.05) for _ in range(200)]


def measured(pool: Pool, repeat: int, wanted: list[str]) -> Times:
    """Measure each case that a pool has; return medians in milliseconds."""
    actions: dict[str, Callable[[], Any] | None] = {
        "one": pool.one,
        "map-1": lambda: pool.map(nothing, range(1000), 1),
        "map-auto": lambda: pool.map(nothing, range(MANY), pool.chunk),
        "random": lambda: pool.map(time.sleep, lengths(), 1),
        "chains": pool.chains,
    }
    found = {}
    for key, action in actions.items():
        if action is None or key not in wanted:
            continue
        action()
        times = []
        for _ in range(max(1, round(repeat * CASES[key].repeat))):
            began = time.perf_counter()
            action()
            times.append(time.perf_counter() - began)
        found[key] = 1000 * median(times)
    if pool.survives and "death" in wanted:
        found["death"] = _with_a_death(pool)
    return found


def _with_a_death(pool: Pool) -> float:
    """Return the milliseconds of many tasks, one of which kills its worker; check the results."""
    with tempfile.TemporaryDirectory() as directory:
        log, mark = Path(directory, "log"), Path(directory, "died")
        began = time.perf_counter()
        values = pool.map(functools.partial(noted, log, mark, VICTIM), range(MANY), 1)
        took = 1000 * (time.perf_counter() - began)
        if values != list(range(MANY)):
            raise AssertionError("a result is missing, or came twice")
        runs = Counter(log.read_bytes().split())
        again = sum(count > 1 for count in runs.values())
        print(f"All {MANY:,} results came once after a death; {again} tasks ran again.", file=sys.stderr)
        return took


def by_mpi4py(n: int, repeat: int, wanted: list[str]) -> Times:
    """Measure ``mpi4py.futures`` by a job of its own, whose first rank measures."""
    from .floor import end, mpiexec

    arguments = ["-m", __spec__.name, "--mpi4py", str(repeat), "--cases", ",".join(wanted)]
    process = mpiexec(n + 1, arguments, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        times: Times = json.loads(process.stdout.read())
        return times
    finally:
        end(process, 10)


def _in_mpi4py(repeat: int, wanted: list[str]) -> None:
    from mpi4py.futures import MPICommExecutor

    with MPICommExecutor() as executor:
        if executor is not None:
            print(json.dumps(measured(futures_pool(executor), repeat, wanted)), flush=True)


def table(results: dict[str, Times], engines: int) -> Table:
    """Return the table of all systems, with the targets."""
    ours = results.get("mpidirect", {})
    shown = Table(title=f"{engines} engines, ms; perfect schedule: {_perfect(engines):.0f}")
    for heading in ("", *results, "targets"):
        shown.add_column(heading, justify="left" if heading in ("", "targets") else "right")
    for key, case in CASES.items():
        if any(key in times for times in results.values()):
            cells = [f"{times[key]:.3g}" if key in times else "" for times in results.values()]
            shown.add_row(case.title, *cells, _targets(key, ours, results, engines))
    return shown


def _targets(key: str, ours: Times, results: dict[str, Times], engines: int) -> str:
    if key not in ours:
        return ""
    if key == "random":
        excess = ours[key] - 1.05 * _perfect(engines) - ours.get("one", 0.0)
        return f"perfect + 5 % + a round trip {'✓' if excess <= 0 else '✗'}"
    cells = []
    for name, factor in CASES[key].targets.items():
        if key in results.get(name, {}):
            ratio = results[name][key] / ours[key]
            cells.append(f"{ratio:.1f} × {name} (≥ {factor}) {'✓' if ratio >= factor else '✗'}")
    return ", ".join(cells)


def _perfect(engines: int) -> float:
    """Return the minimum milliseconds of the tasks of different lengths."""
    return 1000 * sum(lengths()) / engines


@click.command()
@click.option("--engines", type=int, default=4, show_default=True)
@click.option("--repeat", type=click.IntRange(1), default=5, show_default=True)
@click.option("--only", default="", help="Some of the systems, with commas.")
@click.option("--cases", "cases", default=",".join(CASES), show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the medians.")
@click.option("--mpi4py", type=int, hidden=True)
def main(
    engines: int, repeat: int, only: str, cases: str, json_file: Path | None, mpi4py: int | None
) -> None:
    """Measure pools on this machine."""
    wanted = cases.split(",")
    if mpi4py is not None:
        _in_mpi4py(mpi4py, wanted)
        return
    end_by_signals()
    systems = only.split(",") if only else [*SYSTEMS, FUTURES]
    results: dict[str, Times] = {}
    for name in systems:
        if name == FUTURES:
            results[name] = by_mpi4py(engines, repeat, wanted)
            continue
        try:
            with SYSTEMS[name](engines) as pool:
                results[name] = measured(pool, repeat, wanted)
        except ImportError as e:
            print(f"{name} is left out: {e}", file=sys.stderr)
    Console(width=140).print(table(results, engines))
    if json_file:
        json_file.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
