"""The run: work and faults in random order, each with a seed of its own, so that a run can be repeated."""

from __future__ import annotations

import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.time_limit import TooLong, time_limit
from mpidirect import errors

from . import faults, outside
from .testbed import Testbed
from .work import WORK

FAULTS = faults.FAULTS | outside.FAULTS
EVENTS = {**WORK, **{fault.__name__: fault for fault in FAULTS}}
MAX_PROBLEMS = 10  # the run ends after these
LONGEST = 300  # maximum seconds of one event: much more than all its limits together

Event = tuple[str, int]  # the name and the seed


class Driver:
    """Drives a cluster of `n` engines.

    Parameters
    ----------
    seed : int
        The seed of the whole run.
    n : int
        The number of engines.
    """

    def __init__(self, seed: int, n: int) -> None:
        self.seed = seed
        self.bed = Testbed(n)
        self.counts: Counter[str] = Counter()
        self.history: list[Event] = []  # the events since the cluster was started
        self.before_loss: list[Event] = []
        self._source = random.Random(seed)

    def run(self, seconds: float, events: int = sys.maxsize) -> None:
        """Do work, with a fault after every few pieces; stop after a time or a number of events."""
        end = time.monotonic() + seconds
        with self._cluster():
            while time.monotonic() < end and self.counts.total() < events:
                if self.bed.hangs or len(self.bed.lost) >= MAX_PROBLEMS:
                    break
                if self._source.random() < 0.25:
                    name = self._source.choices(list(FAULTS), list(FAULTS.values()))[0].__name__
                else:
                    name = self._source.choice(list(WORK))
                self.one(name, self._source.randrange(2**32))

    def replay(self, events: Sequence[Event]) -> None:
        """Repeat the events of another run."""
        with self._cluster():
            for name, seed in events:
                self.one(name, seed)

    @contextlib.contextmanager
    def _cluster(self) -> Iterator[None]:
        try:
            self.bed.start()
            yield
            self.bed.stop()
        finally:
            self.bed.end()

    def one(self, name: str, seed: int) -> None:
        """Do one piece of work, or inject one fault."""
        bed, clusters = self.bed, self.bed.clusters
        bed.source.seed(seed)
        self.counts[name] += 1
        self.history.append((name, seed))
        problems = len(bed.lost) + len(bed.hangs)
        try:
            with time_limit(LONGEST):
                EVENTS[name](bed)
        except (errors.TimeoutError, TooLong) as e:
            bed.hangs.append(f"{name}: {type(e).__name__}: {e}")
        except (errors.MPIDirectError, AssertionError) as e:
            bed.lost.append(f"{name}: {type(e).__name__}: {e}")
        if len(bed.lost) + len(bed.hangs) > problems and not self.before_loss:
            self.before_loss = list(self.history)
        if bed.clusters > clusters:
            self.history.clear()

    # -- the report -----------------------------------------------------------------------------

    @property
    def well(self) -> bool:
        """Whether nothing was lost, hung or remained."""
        return not (self.bed.lost or self.bed.hangs or self.bed.leftovers)

    def table(self) -> str:
        """Return a report: the operations, the faults and the problems."""
        bed = self.bed
        work = Counter({name: count for name, count in self.counts.items() if name in WORK})
        lines: list[tuple[str, Any]] = [
            ("operations", _sum(work)),
            ("faults injected", _sum(self.counts - work)),
            ("clusters started", bed.clusters),
            ("results lost", len(bed.lost)),
            ("hangs", len(bed.hangs)),
            ("leftover processes", len(bed.leftovers)),
            ("interrupts that the task did not see", len(bed.unheard)),
            *((f"memory growth, {n}", f"{size / 1e6:.1f} MB") for n, size in bed.growth.items()),
        ]
        wide = max(len(name) for name, _ in lines)
        return "\n".join(f"{name:{wide}}  {value}" for name, value in lines)

    def script(self) -> str:
        """Return a program that repeats the events before the first loss."""
        events = "".join(f"    {event!r},\n" for event in self.before_loss)
        return f"from tests.soak.__main__ import replay\n\nreplay({self.bed.n}, [\n{events}])\n"


def _sum(counter: Counter[str]) -> str:
    each = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(counter.items()))
    return f"{counter.total()} ({each})"
