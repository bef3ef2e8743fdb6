"""The log of a session: when its calls ran on which engines, in bounded memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from ...protocol import messages
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
        The time of the begin and the end, by the engine's clock (seconds since 1970).
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


class CallLog:
    """The latest calls of a client.

    Attributes
    ----------
    records : deque of CallRecord
        The calls, the earliest first.
    dropped : int
        The number of earlier calls that the log has dropped.
    """

    def __init__(self) -> None:
        self.records: deque[CallRecord] = deque()
        self.dropped = 0
        self._parts = 0

    def add(self, call: Call) -> None:
        """Add a call that has ended."""
        parts = [_part_of(reply) for reply in call.distinct_replies() if reply.engine >= 0]
        if len(parts) > MAX_PARTS_OF_CALL:
            parts = list(_merged(parts))
        self.records.append(
            CallRecord(call.method, call.cell, call.submitted, time.time(), call.sent, call.size, parts)
        )
        self._parts += len(parts) or 1
        while self._parts > MAX_PARTS and len(self.records) > 1:
            self._parts -= len(self.records.popleft().parts) or 1
            self.dropped += 1


def _part_of(reply: messages.Reply) -> PartRecord:
    started, completed = reply.started, reply.completed
    return PartRecord(reply.engine, started, completed, completed - started, reply.status == "ok")


def _merged(parts: Iterable[PartRecord]) -> Iterable[PartRecord]:
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
