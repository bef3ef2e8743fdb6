"""``python -m tests.soak``."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence

from . import __doc__ as description
from .driver import Driver, Event
from .histories import histories, walk
from .history_run import HistoryRun, Step
from .testbed import Testbed, environment


def main() -> int:
    """Run the soak, or all histories of a length."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-n", "--engines", type=int, default=5)
    parser.add_argument("--histories", type=int, metavar="LENGTH", help="all histories of so many events")
    parser.add_argument("--full", action="store_true", help="with deaths of several engines at the same time")
    given = parser.parse_args()
    if given.histories:
        return run_histories(given.engines, given.histories, given.full, given.seed)
    driver = Driver(given.seed, given.engines)
    with _home(lambda: not driver.well):
        try:
            driver.run(given.minutes * 60)
        finally:
            print(f"seed {given.seed}, {given.minutes:g} minutes, {given.engines} engines")
            report(driver)
    return 0 if driver.well else 1


def report(driver: Driver) -> None:
    """Print the events and the losses, and a command that repeats the run."""
    print(driver.table())
    for problem in [*driver.bed.lost, *driver.bed.hangs]:
        print("PROBLEM:", problem)
    for remark in driver.bed.unheard:
        print("remark:", remark)
    if driver.before_loss:
        print(f"\n# The events before the first loss:\n{driver.script()}", flush=True)


def replay(n: int, events: Sequence[Event]) -> None:
    """Repeat the events of another run before its first loss."""
    driver = Driver(0, n)
    with _home(lambda: not driver.well):
        try:
            driver.replay(events)
        finally:
            report(driver)


def run_histories(n: int, length: int, full: bool, seed: int) -> int:
    """Let one cluster live through all histories of a length; stop at the first problem."""
    count, events = sum(1 for _ in histories(n, length, full)), list(walk(n, length, full))
    with _cluster(n) as bed:
        run = HistoryRun(bed, seed)
        well = run.live(events)
        report_history(run)
    done = f"{len(run.steps)} of {len(events)} events done"
    print(f"{count} histories of {length} events, {n} engines: {done}")
    return 0 if well and not bed.leftovers else 1


def replay_history(n: int, steps: Sequence[Step]) -> None:
    """Repeat a history in which another cluster had a problem."""
    with _cluster(n) as bed:
        run = HistoryRun(bed)
        all(run.do(kind, engines) for kind, engines in steps)
        report_history(run)


def report_history(run: HistoryRun) -> None:
    """Print the problems, and a command that repeats the run."""
    if problems := [*run.bed.lost, *run.bed.hangs]:
        print("PROBLEM:", *problems, sep="\n")
        print(f"\n# The events before the problem:\n{run.script()}", flush=True)


@contextlib.contextmanager
def _cluster(n: int) -> Iterator[Testbed]:
    """Run a cluster; at the end report the remaining processes."""
    bed = Testbed(n)
    with _home(lambda: bool(bed.lost or bed.hangs)):
        try:
            bed.start()
            yield bed
            if not bed.hangs:
                bed.stop()
        finally:
            bed.end()
    if bed.leftovers:
        print("PROBLEM: processes are left:", *bed.leftovers)


@contextlib.contextmanager
def _home(ill: Callable[[], bool]) -> Iterator[None]:
    """Let clusters have a directory of their own, whose logs are kept if something is `ill` at the end."""
    faulthandler.enable()
    warnings.simplefilter("ignore")  # of connections that are down
    home, keep = tempfile.mkdtemp(prefix="soak-"), True
    try:
        with environment(MPIDIRECT_DIR=f"{home}/mpidirect"):
            yield
        keep = ill()
    finally:
        if keep:
            print(f"the logs are kept: {home}/mpidirect", flush=True)
        else:
            shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
