"""``python -m tests.soak``."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence

from . import __doc__ as description
from .driver import Driver, Event
from .histories import histories, live
from .testbed import Testbed, environment


def main() -> int:
    """Run the soak, or all histories of a length."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-n", "--engines", type=int, default=5)
    parser.add_argument("--histories", type=int, metavar="LENGTH", help="every history of so many events")
    given = parser.parse_args()
    if given.histories:
        return run_histories(given.engines, given.histories)
    driver = Driver(given.seed, given.engines)
    with _home():
        try:
            driver.run(given.minutes * 60)
        finally:
            print(f"seed {given.seed}, {given.minutes:g} minutes, {given.engines} engines")
            report(driver)
    return 0 if driver.well else 1


def report(driver: Driver) -> None:
    """Print what was done, what was lost, and how to do it again."""
    print(driver.table())
    for problem in [*driver.bed.lost, *driver.bed.hangs]:
        print("PROBLEM:", problem)
    for remark in driver.bed.unheard:
        print("remark:", remark)
    if driver.before_loss:
        print(f"\n# The events before the first loss:\n{driver.script()}", flush=True)


def replay(n: int, events: Sequence[Event]) -> None:
    """Do what another run has done before its first loss."""
    driver = Driver(0, n)
    with _home():
        try:
            driver.replay(events)
        finally:
            report(driver)


def run_histories(n: int, length: int) -> int:
    """Let one cluster live through all histories of a length; stop at the first loss."""
    bed = Testbed(n)
    with _home():
        bed.start()
        try:
            for k, events in enumerate(histories(length), 1):
                names = ", ".join(event.__name__ for event in events)
                try:
                    live(bed, events)
                finally:
                    if bed.lost or bed.hangs or sys.exc_info()[0]:
                        print(f"history {k}: {names}\nPROBLEM: {[*bed.lost, *bed.hangs]}", flush=True)
                if bed.lost or bed.hangs:
                    return 1
            bed.stop()
        finally:
            bed.end()
    print(f"{k} histories of {length} events, {n} engines: nothing lost, {len(bed.leftovers)} processes left")
    return 1 if bed.leftovers else 0


@contextlib.contextmanager
def _home() -> Iterator[None]:
    faulthandler.enable()
    warnings.simplefilter("ignore")  # of connections that are down
    with tempfile.TemporaryDirectory() as home, environment(MPIDIRECT_DIR=f"{home}/mpidirect"):
        yield


if __name__ == "__main__":
    sys.exit(main())
