"""Queries whose answer takes time: interrupts, and inspections of engines."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from ...protocol import messages
from ..engine_registry import EngineRegistry
from ..engines import stack_dumps
from ..engines.links import EngineMessenger
from ..engines.repair_coordinator import RepairCoordinator
from ..engines.stack_dumps import StackDumps
from ..scheduling.scheduler import Scheduler
from ..sessions.session import Session

# seconds after which interrupted engines count as stuck in C; also the time before the end of the query
STUCK_TIME = 3.0
INSPECTION_TIMEOUT = 0.5  # seconds that an engine has to answer
EXAMINATION_TIMEOUT = 30.0  # seconds that a tool has to examine engines
DUMP_TIMEOUT = 0.2  # seconds that an engine has to write its stack, which needs no Python
REVOKED = "an interrupt has ended calls on it"
NO_ANSWER = "in a call that does not let go of Python's lock"

_numbers = itertools.count(1)


class PendingQuery:
    """A query under way.

    Parameters
    ----------
    session, query
        The client, and its query.
    tasks : dict of int to set of str
        The tasks that must end before the answer, by engine; empty sets for an inspection.
    ends : float
        When to answer with what is known by then.
    """

    def __init__(
        self, session: Session, query: messages.Query, tasks: dict[int, set[str]], ends: float
    ) -> None:
        self.session = session
        self.query = query
        self.tasks = tasks
        self.ends = ends
        self.number = next(_numbers)  # tells the engines' answers apart
        self.inspected = False  # whether the engines were asked where they are
        self.signals = False  # whether engines that do not answer may get a signal, which can end a C call
        self.dumped = False  # whether those that do not answer were made to write their stacks
        self.with_stacks = self.with_usage = self.with_examination = False
        self.names: list[str] = []  # names whose values are asked for
        self.found: dict[int, Any] = {}  # by engine: its answer

    def add_inspection(self, engine: int, message: messages.Inspection) -> None:
        """Take the answer of an engine."""
        if self.number == message.number and engine in self.tasks:
            if self.names:
                self.found[engine] = [bool(message.where), message.value, message.problem]
            else:
                self.found[engine] = message.usage if self.with_usage else message.where

    def next_event(self, now: float) -> float:
        """Return when there is something to do."""
        return self.ends if self.inspected else self.ends - INSPECTION_TIMEOUT

    @property
    def silent(self) -> list[int]:
        """The engines that have not answered."""
        return [engine for engine in self.tasks if engine not in self.found]

    def add_dump(self, engine: int, frames: list[stack_dumps.Frame]) -> None:
        """Take what an engine that does not answer has written."""
        if frames:
            self.found[engine] = stack_dumps.stack(frames)

    def answer(self) -> None:
        """Answer with what is known."""
        default: Any = None if self.with_usage else NO_ANSWER
        if self.with_examination:
            default = ["", "no other process of its host has looked into the engine"]
        if self.names:
            default = [True, b"", f"TimeoutError: it is {NO_ANSWER}"]
        value = {engine: self.found.get(engine, default) for engine in sorted(self.tasks)}
        self.session.notify(messages.Answer, self.query.id, value)


class PendingInterrupt(PendingQuery):
    """An interrupt under way.

    Parameters
    ----------
    session, query
        The client, and its query.
    request_ids : set of str or None
        The requests whose tasks are interrupted; None: whatever runs.
    begins, ends : float
        When to interrupt, and when to answer with what is known by then.
    abort : callable
        Aborts the tasks that have not begun.
    """

    def __init__(
        self,
        session: Session,
        query: messages.Query,
        request_ids: set[str] | None,
        begins: float,
        ends: float,
        abort: Callable[[], None],
    ) -> None:
        super().__init__(session, query, {}, ends)
        self.request_ids = request_ids
        self.begins = begins
        self.abort = abort
        self.begun = False
        self.world_revoked = False  # whether MPI's own world was revoked

    def next_event(self, now: float) -> float:
        """Return when there is something to do."""
        if not self.begun:
            return self.begins
        if not self.world_revoked and self.ends - STUCK_TIME > now:
            return self.ends - STUCK_TIME
        return super().next_event(now)


class PendingQueries:
    """All queries under way."""

    def __init__(
        self,
        scheduler: Scheduler,
        registry: EngineRegistry,
        link: EngineMessenger,
        repair: RepairCoordinator,
        dumps: StackDumps,
        revokes: bool,
    ) -> None:
        self._scheduler = scheduler
        self._registry = registry
        self._link = link
        self._repair = repair
        self._dumps = dumps
        self._revokes = revokes
        self._open: list[PendingQuery] = []

    def wait_limit(self) -> int:
        """Return the milliseconds until there is something to do, 1000 at most."""
        if not self._open:
            return 1000
        now = time.monotonic()
        next_event = min(pending.next_event(now) for pending in self._open)
        return max(1, min(1000, int(1000 * (next_event - now)) + 1))

    def interrupt(
        self,
        session: Session,
        query: messages.Query,
        request_ids: list[str] | None,
        within: float,
        delay: float,
        abort: Callable[[], None],
    ) -> None:
        """Interrupt what runs, or the tasks of these requests; answer when the engines are back.

        The answer has the engines that are not back, and where they are. When the delay is over, `abort`
        removes the tasks that have not begun.
        """
        ids = None if request_ids is None else set(request_ids)
        begins = time.monotonic() + delay
        self._open.append(PendingInterrupt(session, query, ids, begins, begins + within, abort))
        self.look()

    def inspect(
        self,
        session: Session,
        query: messages.Query,
        *,
        with_stacks: bool = False,
        names: Sequence[str] = (),
        with_usage: bool = False,
        signals: bool = False,
    ) -> None:
        """Ask engines where they are, for the values of names, or what they do and use."""
        tasks: dict[int, set[str]] = {
            engine: set() for engine in query.targets if engine in self._registry.alive
        }
        pending = PendingQuery(session, query, tasks, time.monotonic() + INSPECTION_TIMEOUT)
        pending.with_stacks, pending.names, pending.with_usage = with_stacks, list(names), with_usage
        pending.signals = signals
        self._open.append(pending)
        self._inspect_engines(pending)

    def examine(self, session: Session, query: messages.Query) -> None:
        """Have other processes of the engines' hosts look into engines."""
        alive = self._registry.alive
        tasks: dict[int, set[str]] = {engine: set() for engine in query.targets if engine in alive}
        pending = PendingQuery(session, query, tasks, time.monotonic() + EXAMINATION_TIMEOUT)
        pending.with_examination = pending.inspected = True
        self._open.append(pending)
        self._dumps.examine(pending.number, tasks)
        self.look()

    def examined(self, message: messages.ProcessesExamined) -> None:
        """Take the stack of an engine."""
        for pending in self._open:
            if pending.number == message.number and message.engine in pending.tasks:
                pending.found[message.engine] = [message.stack, message.problem]
        self.look()

    def inspected(self, engine: int, message: messages.Inspection) -> None:
        """Take the answer of an engine."""
        for pending in self._open:
            pending.add_inspection(engine, message)
        self.look()

    def look(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        for pending in list(self._open):
            if isinstance(pending, PendingInterrupt):
                self._look_at_interrupt(pending, now)
            if self._is_complete(pending) or (now >= pending.ends and not self._dump_stacks(pending, now)):
                self._close(pending)

    def _close(self, pending: PendingQuery) -> None:
        if pending.dumped:
            for engine in pending.silent:
                pending.add_dump(engine, self._dumps.read(engine))
        self._open.remove(pending)
        pending.answer()

    def _dump_stacks(self, pending: PendingQuery, now: float) -> bool:
        """Have engines that do not answer write their stacks; return False if that is not of use."""
        silent = [engine for engine in pending.silent if engine in self._registry.alive]
        if pending.dumped or not silent or not pending.signals:
            return False
        pending.dumped, pending.ends = True, now + DUMP_TIMEOUT
        for engine in silent:
            self._dumps.request(engine)
        return True

    def answer_all(self) -> None:
        """Answer with what is known by now: the controller ends."""
        for pending in self._open:
            pending.answer()
        self._open.clear()

    def _look_at_interrupt(self, pending: PendingInterrupt, now: float) -> None:
        find = self._scheduler.find
        pending.tasks = {
            engine: running
            for engine, tasks in pending.tasks.items()
            if (running := {task for task in tasks if find(engine, task) is not None})
        }
        if not pending.begun and now >= pending.begins:
            pending.begun = True
            pending.abort()
            pending.tasks = self._tasks_to_interrupt(pending)
            for engine, tasks in pending.tasks.items():
                for task in tasks:
                    self._link.send_control(engine, messages.Signal(signal.SIGINT, task))
        stuck = now >= pending.ends - STUCK_TIME >= pending.begins + STUCK_TIME
        if pending.tasks and not pending.world_revoked and stuck:
            self._revoke_world(pending)
        if not pending.inspected and now >= pending.ends - INSPECTION_TIMEOUT:
            self._inspect_engines(pending)

    def _tasks_to_interrupt(self, pending: PendingInterrupt) -> dict[int, set[str]]:
        """Return the tasks that engines have now and that are meant, by engine."""
        tasks: dict[int, set[str]] = {}
        ids = pending.request_ids
        for target in pending.query.targets:
            engine = self._scheduler.engines.get(target)
            if engine is not None and engine.sent:
                running = next(iter(engine.sent))
                meant = {
                    task
                    for task, request in engine.sent.items()
                    if (task == running if ids is None else request.request_id in ids)
                }
                if meant:
                    tasks[target] = meant
        return tasks

    def _revoke_world(self, pending: PendingInterrupt) -> None:
        """Revoke MPI's own world: no signal has helped, so the engines may wait for others in C code."""
        pending.world_revoked = True
        if self._revokes:
            self._registry.lose_c_world(REVOKED)
            self._registry.tell_of_c_world()
            for engine in self._registry.alive:
                self._link.send_control(engine, messages.RevokeWorld())

    def _inspect_engines(self, pending: PendingQuery) -> None:
        pending.inspected = True
        for engine in pending.tasks:
            order = messages.Inspect(pending.number, pending.with_stacks, pending.names, pending.with_usage)
            self._link.send_control(engine, order)

    def _is_complete(self, pending: PendingQuery) -> bool:
        """Return whether nothing more is to come."""
        if isinstance(pending, PendingInterrupt):
            return pending.begun and not pending.tasks and not self._repair.repairing
        alive = self._registry.alive
        return not any(engine in alive and engine not in pending.found for engine in pending.tasks)
