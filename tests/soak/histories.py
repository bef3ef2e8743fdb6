"""All short histories of deaths and restarts, with engines that are alike counted once.

Engines that were started together and still live are alike: their processes have taken part in the same
communicators. So a history says from which group an engine dies, and not which engine of the group.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

Groups = tuple[int, ...]  # How many engines live of those that were started together, oldest first.


class Event(NamedTuple):
    """An event of a history.

    Attributes
    ----------
    kind : str
        ``"deaths"``; ``"replace"``: the dead engines, or living ones; ``"restart"``: all engines.
    counts : tuple of int
        How many engines of each group die or are replaced. Empty: the dead engines, or all.
    """

    kind: str
    counts: Groups = ()

    def __str__(self) -> str:
        return self.kind + "".join(f" {count}" for count in self.counts)


History = tuple[Event, ...]
RESTART, REPLACE = Event("restart"), Event("replace")


def events(size: int, groups: Groups, full: bool) -> dict[Event, Groups]:
    """Return the possible events, and the groups after each.

    Parameters
    ----------
    size : int
        The number of engines, dead ones included.
    groups : tuple of int
        The groups before the event.
    full : bool
        Whether several engines may die at the same time, and a living engine may be replaced. Otherwise the
        events are the death of one engine, the replacement of the dead ones, and the restart of all.
    """
    found = {RESTART: (size,)}
    dead = size - sum(groups)
    if dead and groups:  # If none lives, the replacement of all is a restart.
        found[REPLACE] = (*groups, dead)
    for counts in itertools.product(*(range(count + 1) for count in groups)):
        left = tuple(have - less for have, less in zip(groups, counts, strict=True) if have > less)
        if sum(counts) == 1 or (full and any(counts)):
            found[Event("deaths", counts)] = left
        if sum(counts) == 1 < size and full:
            found[Event("replace", counts)] = (*left, 1)
    return found


def histories(size: int, length: int, full: bool) -> Iterator[History]:
    """Yield all histories of a number of events, which begin after a start of all engines."""

    def continued(groups: Groups, left: int) -> Iterator[History]:
        if not left:
            yield ()
            return
        for event, after in events(size, groups, full).items():
            for rest in continued(after, left - 1):
                yield (event, *rest)

    return continued((size,), length)


def walk(size: int, length: int, full: bool) -> Iterator[Event]:
    """Yield events that one cluster can live through, with every history of a length among them.

    After a restart of all engines each history can begin. So a history that contains restarts overlaps with
    the histories that begin at these restarts.
    """
    missing: Counter[History] = Counter()  # By the first events of histories: how many are still to come.
    for history in histories(size, length, full):
        missing.update(history[:end] for end in range(length + 1))
    groups: Groups = (size,)
    begun: list[History] = [()]  # Histories that began at the last restarts, longest first.
    while missing[()]:
        possible = events(size, groups, full)
        best = max(possible, key=lambda event: _gains(missing, begun, event))
        groups = possible[best]
        begun = [(*history, best) for history in begun if missing[(*history, best)]]
        if begun and len(begun[0]) == length:
            complete = begun.pop(0)
            missing.subtract(complete[:end] for end in range(length + 1))
        if best == RESTART:
            begun.append(())
        yield best


def _gains(missing: Counter[History], begun: list[History], event: Event) -> list[int]:
    """Return, for each history that has begun, how many are still to come that continue with an event."""
    return [missing[(*history, event)] for history in begun]
