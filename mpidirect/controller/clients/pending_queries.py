"""Questions whose answer takes a moment: interrupts, until the engines are back; and where engines are."""

from __future__ import annotations

import itertools
import logging
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...protocol import messages

if TYPE_CHECKING:
    from ..controller import Controller
    from ..sessions.session import Session

log = logging.getLogger(__name__)

STUCK = 3.0  # seconds after which engines count as stuck in C, and before the end
LOCATING = 0.5  # seconds that an engine has to tell where it is


class PendingQuery:
    """A question under way.

    Parameters
    ----------
    session, query
        Who asked what.
    tasks : dict of int to str
        Of each engine that is asked, the task that it is about.
    begins, ends : float
        When to begin, and when to answer whatever has been found out.
    """

    def __init__(
        self, session: Session, query: messages.Query, tasks: dict[int, set[str]], begins: float, ends: float
    ) -> None:
        self.session = session
        self.query = query
        self.tasks = tasks
        self.begins = begins
        self.ends = ends
        self.found: dict[int, Any] = {}
        self.deep = False  # whether the stacks are asked for
        self.names: list[str] = []  # whose values are asked for
        self.number = next(_numbers)
        self.begun = False
        self.located = False  # whether the engines have been asked where they are
        self.interrupts = True
        self.gave_up = False  # whether the world below Python was given up
        self.ids: set[str] | None = None  # of the tasks to interrupt; None: whatever runs
        self.abort: Callable[[], None] = lambda: None


_numbers = itertools.count(1)


class PendingQueries:
    """All that are under way.

    Parameters
    ----------
    controller : Controller
        Who answers.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self._open: list[PendingQuery] = []

    def patience(self) -> int:
        """Milliseconds until something is due."""
        if not self._open:
            return 1000
        now = time.monotonic()
        due = [self._due(inquiry) for inquiry in self._open]
        return max(1, min(1000, int(1000 * (min(due) - now)) + 1))

    @staticmethod
    def _due(inquiry: PendingQuery) -> float:
        if not inquiry.begun:
            return inquiry.begins
        if inquiry.interrupts and not inquiry.gave_up and inquiry.ends - STUCK > time.monotonic():
            return inquiry.ends - STUCK
        return inquiry.ends if inquiry.located else inquiry.ends - LOCATING

    def interrupt(
        self,
        session: Session,
        query: messages.Query,
        ids: list[str] | None,
        within: float,
        delay: float,
        abort: Callable[[], None],
    ) -> None:
        """Interrupt what runs, or tasks with these ids; answer when the engines are back.

        The answer has the engines that are not back, and where they are.  What has not begun when the delay
        is over, `abort` takes out.
        """
        now = time.monotonic()
        inquiry = PendingQuery(session, query, {}, now + delay, now + delay + within)
        inquiry.ids, inquiry.abort = None if ids is None else set(ids), abort
        self._open.append(inquiry)
        self.look()

    def _meant(self, inquiry: PendingQuery) -> dict[int, set[str]]:
        """The tasks that engines have now and that are to be interrupted."""
        tasks: dict[int, set[str]] = {}
        ids = inquiry.ids
        for engine in inquiry.query.targets:
            there = self.controller.scheduler.engines.get(engine)
            if there is not None and there.sent:
                first = next(iter(there.sent))
                wanted = [
                    id
                    for id, job in there.sent.items()
                    if (id == first if ids is None else job.request in ids)
                ]
                if wanted:
                    tasks[engine] = set(wanted)
        return tasks

    def where(self, session: Session, query: messages.Query, deep: bool, names: list[str]) -> None:
        """Ask engines where they are, or what names of theirs mean."""
        now = time.monotonic()
        tasks: dict[int, set[str]] = {
            engine: set() for engine in query.targets if engine in self.controller.engines
        }
        inquiry = PendingQuery(session, query, tasks, now, now + LOCATING)
        inquiry.interrupts, inquiry.begun = False, True
        inquiry.deep, inquiry.names = deep, names
        self._open.append(inquiry)
        self._locate(inquiry)

    def look(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        for inquiry in list(self._open):
            if inquiry.interrupts:
                self._look_at(inquiry, now)
            if now >= inquiry.ends or not self._missing(inquiry):
                self._answer(inquiry)

    def answer_all(self) -> None:
        """Answer with what has been found out so far: the controller ends."""
        for query in list(self._open):
            self._answer(query)

    def _look_at(self, inquiry: PendingQuery, now: float) -> None:
        job = self.controller.scheduler.job
        inquiry.tasks = {
            engine: left
            for engine, tasks in inquiry.tasks.items()
            if (left := {task for task in tasks if job(engine, task) is not None})
        }
        if not inquiry.begun and now >= inquiry.begins:
            inquiry.begun = True
            inquiry.abort()
            inquiry.tasks = self._meant(inquiry)
            for engine, tasks in inquiry.tasks.items():
                for task in tasks:
                    self.controller.send_control(engine, messages.Signal(signal.SIGINT, task))
        if inquiry.tasks and not inquiry.gave_up and now >= inquiry.ends - STUCK >= inquiry.begins + STUCK:
            self._give_up_world(inquiry)
        if not inquiry.located and now >= inquiry.ends - LOCATING:
            self._locate(inquiry)

    def _give_up_world(self, inquiry: PendingQuery) -> None:
        """No signal has reached them: perhaps they are in C code that waits for others in MPI."""
        inquiry.gave_up = True
        if self.controller.facts["fault_tolerance"]["revokes"]:
            for engine in self.controller.engines:
                self.controller.send_control(engine, messages.RevokeWorld())

    def _locate(self, inquiry: PendingQuery) -> None:
        inquiry.located = True
        for engine in inquiry.tasks:
            order = messages.Inspect(inquiry.number, inquiry.deep, inquiry.names)
            self.controller.send_control(engine, order)

    def located(self, engine: int, message: messages.Inspection) -> None:
        """An engine tells where it is."""
        for inquiry in self._open:
            if inquiry.number == message.number and engine in inquiry.tasks:
                told = [bool(message.where), message.value, message.problem]
                inquiry.found[engine] = told if inquiry.names else message.where
        self.look()

    def _missing(self, inquiry: PendingQuery) -> bool:
        """Whether something is still to come."""
        if inquiry.interrupts:
            return not inquiry.begun or bool(inquiry.tasks) or self.controller.recovery.repairing
        return any(e in self.controller.engines and e not in inquiry.found for e in inquiry.tasks)

    def _answer(self, inquiry: PendingQuery) -> None:
        self._open.remove(inquiry)
        silent: Any = "in a call that does not let go of Python's lock"
        if inquiry.names:
            silent = [True, b"", f"TimeoutError: it is {silent}"]
        value = {engine: inquiry.found.get(engine, silent) for engine in sorted(inquiry.tasks)}
        inquiry.session.tell(messages.Answer, inquiry.query.id, value)
