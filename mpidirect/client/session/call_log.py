"""The log of a session: when its calls ran on which engines, in bounded memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable
from typing import NamedTuple

from ..calls.call import Call

MAX_PARTS = 50_000  # parts of calls in a log
MAX_PARTS_OF_CALL = 2_000  # parts of one call: more are merged to one for each engine


class PartRecord(NamedTuple):
    """One part of a call: a task, or several tasks of an engine.

    Attributes
    ----------
    engine : int
        The engine.
    started, completed : float
        The times of the start and the end, by the engine's clock (seconds since 1970).
    busy : float
        The seconds of computation.
    ok : bool
        Whether the part ended without an error.
    """

    engine: int
    started: float
    completed: float
    busy: float
    ok: bool


class CallRecord(NamedTuple):
    """A call that has ended.

    Attributes
    ----------
    method : str
        What was called.
    cell : int
        The number of the cell that made the call; 0 without cells.
    submitted, ended : float
        The time of the submission and of the last answer (seconds since 1970).
    sent, received : int
        Bytes of arguments and of results.
    parts : list of PartRecord
        The parts of the call.
    """

    method: str
    cell: int
    submitted: float
    ended: float
    sent: int
    received: int
    parts: list[PartRecord]

    @property
    def wall_time(self) -> float:
        """The seconds from the submission to the last answer."""
        return self.ended - self.submitted

    @property
    def ok(self) -> bool:
        """Whether all parts ended without an error."""
        return all(part.ok for part in self.parts)

    def busy_times(self) -> dict[int, float]:
        """Return the seconds of computation, by engine."""
        times: dict[int, float] = {}
        for part in self.parts:
            times[part.engine] = times.get(part.engine, 0.0) + part.busy
        return times


_Part = tuple[int, float, float, float, bool]  # the fields of a `PartRecord`
_Entry = tuple[str, int, float, float, int, int, list[_Part]]  # the fields of a `CallRecord`


class CallLog:
    """The latest calls of a client; an entry becomes a record only when a report asks for the records.

    Attributes
    ----------
    dropped : int
        The number of earlier calls that the log has dropped.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._entries: deque[_Entry] = deque()
        self._parts = 0

    def add(self, call: Call) -> None:
        """Add a call that has ended."""
        replies = call.distinct_replies()
        parts: list[_Part] = [
            (r.engine, r.started, r.completed, r.completed - r.started, r.status == "ok") for r in replies
        ]
        if len(parts) > MAX_PARTS_OF_CALL:
            parts = list(_merged(map(PartRecord._make, parts)))
        self._entries.append(
            (call.method, call.cell, call.submitted, time.time(), call.sent, call.size, parts)
        )
        self._parts += len(parts)
        while self._parts > MAX_PARTS and len(self._entries) > 1:
            self._parts -= len(self._entries.popleft()[-1])
            self.dropped += 1

    @property
    def records(self) -> list[CallRecord]:
        """The calls, the earliest first."""
        return [
            CallRecord(*entry[:-1], [PartRecord(*part) for part in entry[-1] if part[0] >= 0])
            for entry in self._entries
        ]


def _merged(parts: Iterable[PartRecord]) -> Collection[PartRecord]:
    """Return one part for each engine."""
    merged: dict[int, PartRecord] = {}
    for part in parts:
        other = merged.get(part.engine, part)
        merged[part.engine] = PartRecord(
            part.engine,
            min(other.started, part.started),
            max(other.completed, part.completed),
            part.busy if other is part else other.busy + part.busy,
            other.ok and part.ok,
        )
    return merged.values()


def imbalance(times: Iterable[float]) -> float:
    """Return how much longer the slowest engine computes than the mean, as a fraction of the mean.

    Examples
    --------
    >>> imbalance([1.0, 1.0, 4.0])
    1.0
    """
    values = list(times)
    mean = sum(values) / len(values) if values else 0.0
    return max(values) / mean - 1.0 if mean > 0 else 0.0
