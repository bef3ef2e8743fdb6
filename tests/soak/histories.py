"""Every short history of deaths and restarts: all sequences of events, one after the other."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator, Sequence

from tests.waiting import until

from .testbed import Testbed


def kill_first(bed: Testbed) -> None:
    _kill(bed, bed.near.ids[:1])


def kill_last(bed: Testbed) -> None:
    _kill(bed, bed.near.ids[-1:])


def kill_but_one(bed: Testbed) -> None:
    _kill(bed, bed.near.ids[1:])


def kill_all(bed: Testbed) -> None:
    _kill(bed, bed.near.ids)


def replace(bed: Testbed) -> None:
    """Replace the dead engines; if all live, the last engine."""
    missing = [k for k in range(bed.n) if k not in bed.near.ids] or [bed.n - 1]
    bed.reborn(bed.near.restart(missing), missing, "replace")


def restart(bed: Testbed) -> None:
    """Start all engines anew."""
    everyone = list(range(bed.n))
    bed.dead.update(everyone)
    bed.reborn(bed.near.restart(), everyone, "restart")


EVENTS: tuple[Callable[[Testbed], None], ...] = (
    kill_first,
    kill_last,
    kill_but_one,
    kill_all,
    replace,
    restart,
)


def histories(length: int) -> Iterator[Sequence[Callable[[Testbed], None]]]:
    """Yield all sequences of so many events that make sense: nobody is killed when nobody lives."""
    for events in itertools.product(EVENTS, repeat=length):
        pairs = itertools.pairwise(events)
        if not any(before is kill_all and after.__name__.startswith("kill") for before, after in pairs):
            yield events


def live(bed: Testbed, events: Sequence[Callable[[Testbed], None]]) -> None:
    """Let a cluster, which may have a past, live through a history; at the end all engines are there."""
    for event in events:
        if bed.near.ids or not event.__name__.startswith("kill"):
            event(bed)
            check(bed)
    if len(bed.near.ids) < bed.n:
        replace(bed)
        check(bed)


def check(bed: Testbed) -> None:
    """Check that who lives has a common communicator and its names."""
    if bed.near.ids:
        bed.near_call()
        bed.together()
        bed.unchanged()


def _kill(bed: Testbed, victims: Sequence[int]) -> None:
    pids = [bed.near.engines_info[k]["pid"] for k in victims]
    left = [k for k in bed.near.ids if k not in victims]
    bed.dead.update(victims)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: bed.near.ids == left)
