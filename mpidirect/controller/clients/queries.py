"""Queries that the controller answers itself, also while the engines are busy."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum
from signal import SIGKILL, valid_signals
from typing import Any

from ...protocol import messages
from ..engine_registry import EngineRegistry
from ..engines.generations import Generations
from ..engines.links import EngineMessenger
from ..engines.replacement import AskedBy, ReplacementRefused
from ..scheduling.balancer import Balancer
from ..scheduling.scheduler import ActiveRequest, Scheduler
from ..sessions.retained_results import RetainedResults
from ..sessions.session import Session
from ..sessions.sessions import Sessions, unclaimed_requests
from ..sessions.undelivered import undelivered_results
from .debuggers import Debuggers
from .pending_queries import PendingQueries
from .requests import Requests

log = logging.getLogger(__name__)

MAX_ENGINES = 100_000  # maximum number of engines to start: a larger number would be a mistake
MAX_WAIT = 3600.0  # seconds
MAX_REPLACEMENT_WAIT = 86400.0  # seconds
_SIGNALS = valid_signals()


class Deferred(Enum):
    """The result of a query function whose answer will follow."""

    DEFERRED = 0


class BadQuery(Exception):
    """The query cannot be answered; the text says why."""


class Queries:
    """Answers the queries of clients."""

    def __init__(
        self,
        registry: EngineRegistry,
        scheduler: Scheduler,
        balancer: Balancer,
        requests: Requests,
        link: EngineMessenger,
        generations: Generations,
        pending: PendingQueries,
        debuggers: Debuggers,
        sessions: Sessions,
        retained: RetainedResults,
        abort: Callable[[ActiveRequest, int], None],  # ends a task that does not begin
        kill: Callable[[int], None],
        stop: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._scheduler = scheduler
        self._balancer = balancer
        self._requests = requests
        self._link = link
        self._generations = generations
        self._pending = pending
        self._debuggers = debuggers
        self._sessions = sessions
        self._retained = retained
        self._abort_task = abort
        self._kill = kill
        self._stop = stop

    def answer(self, session: Session, query: messages.Query) -> None:
        """Answer a query, now or later."""
        value, error = None, f"this controller can't answer {query.what!r}"
        find = ANSWERS.get(query.what)
        if find is not None:
            try:
                value, error = find(self, session, query), ""
            except BadQuery as e:
                error = str(e)
            except Exception as e:  # the client waits for an answer in any case
                log.warning(
                    "client %s asked %s in a way that can't be answered: %s",
                    session.label,
                    query.what,
                    e,
                    exc_info=True,
                )
                error = f"{query.what!r} can't be asked like that: {e}"
        if value is not Deferred.DEFERRED:
            session.notify(messages.Answer, query.id, value, error)

    # -- tasks ------------------------------------------------------------------------------------

    def _queue_status(self, session: Session, query: messages.Query) -> Any:
        """Return the lengths of the engines' queues."""
        return {**self._scheduler.status(query.targets), "unassigned": self._balancer.waiting}

    def _abort(self, session: Session, query: messages.Query) -> Any:
        """Remove tasks that have not begun; the value is a list of request ids, or None for all."""
        wanted = query.value
        if wanted is not None and not (isinstance(wanted, list) and _all_text(wanted)):
            raise BadQuery("abort takes a list of task ids")
        return self._abort_tasks(wanted, query.targets, interrupts_rest=True)

    def _abort_tasks(self, wanted: list[str] | None, targets: list[int], interrupts_rest: bool) -> int:
        removed = self._scheduler.abort(wanted, targets, interrupts_rest)
        for request, engine in removed:
            self._abort_task(request, engine)
        return len(removed) + self._balancer.abort(wanted) + self._requests.abort(wanted)

    def _signal(self, session: Session, query: messages.Query) -> Any:
        """Send a signal to engines; the value is ``[number, task id or ""]``."""
        try:
            number, task = query.value
            message = messages.Signal(int(number), str(task))
        except (TypeError, ValueError):
            raise BadQuery("signal takes a number and a task id") from None
        if message.signum not in _SIGNALS:
            raise BadQuery(f"there is no signal {message.signum}")
        for engine in query.targets:
            if engine in self._registry.alive:
                if message.signum == SIGKILL:
                    self._kill(engine)
                else:
                    self._link.send_control(engine, message)
        return None

    def _interrupt(self, session: Session, query: messages.Query) -> Any:
        """Interrupt running tasks; answer when the engines are free again, or the time is over.

        The value is ``[request ids or None, seconds, seconds to wait before, whether to abort tasks that have
        not begun]``.
        """
        try:
            ids, within, delay, aborts = query.value
            within, delay = min(float(within), MAX_WAIT), min(float(delay), MAX_WAIT)
            ids = None if ids is None else [str(id) for id in ids]
        except (TypeError, ValueError):
            raise BadQuery("interrupt takes task ids, two times and whether to abort") from None

        def abort() -> None:
            if aborts and ids:
                self._abort_tasks(ids, query.targets, interrupts_rest=False)  # what runs is interrupted

        self._pending.interrupt(session, query, ids, within, delay, abort)
        return Deferred.DEFERRED

    def _debugger(self, session: Session, query: messages.Query) -> Any:
        """Give a command to the debuggers of engines; return whether each waited for the command.

        The value is ``[number, line or None, refusal]`` for each engine.
        """
        try:
            commands = [
                messages.DebuggerCommand(int(number), None if line is None else str(line), str(refusal))
                for number, line, refusal in query.value
            ]
            pairs = list(zip(query.targets, commands, strict=True))
        except (TypeError, ValueError):
            raise BadQuery("debugger takes a number, a command and a refusal for each engine") from None
        return [self._debuggers.command(engine, command) for engine, command in pairs]

    # -- engines ----------------------------------------------------------------------------------

    def _where(self, session: Session, query: messages.Query) -> Any:
        """Return what the engines do.

        The value says whether to return stacks, and whether to send signals to engines that do not answer.
        """
        with_stacks, signals = query.value or (False, False)
        self._pending.inspect(session, query, with_stacks=bool(with_stacks), signals=bool(signals))
        return Deferred.DEFERRED

    def _native_stacks(self, session: Session, query: messages.Query) -> Any:
        """Return the engines' stacks with C frames, which other processes on the engines' hosts read."""
        self._pending.examine(session, query)
        return Deferred.DEFERRED

    def _peek(self, session: Session, query: messages.Query) -> Any:
        """Return the values of names on engines, which may be busy; the value is the list of names."""
        if not (isinstance(query.value, list) and query.value and _all_text(query.value)):
            raise BadQuery("peek takes names")
        self._pending.inspect(session, query, names=query.value)
        return Deferred.DEFERRED

    def _usage(self, session: Session, query: messages.Query) -> Any:
        """Return what engines do and which resources they use; None for one that does not answer in time."""
        self._pending.inspect(session, query, with_usage=True)
        return Deferred.DEFERRED

    def _restart(self, session: Session, query: messages.Query) -> Any:
        """Replace engines; the value is the number of seconds that the other engines have to get free."""
        try:
            within = min(float(query.value), MAX_REPLACEMENT_WAIT)
        except (TypeError, ValueError):
            raise BadQuery("restart takes a time") from None
        try:
            self._generations.restart(AskedBy(session, query), within)
        except ReplacementRefused as e:
            raise BadQuery(str(e)) from None
        return Deferred.DEFERRED

    def _resize(self, session: Session, query: messages.Query) -> Any:
        """End all engines; the value is the number of engines that follow."""
        if not isinstance(query.value, int) or not 0 < query.value <= MAX_ENGINES:
            raise BadQuery(f"a cluster has 1 to {MAX_ENGINES} engines")
        try:
            self._generations.renew(AskedBy(session, query), query.value)
        except ReplacementRefused as e:
            raise BadQuery(str(e)) from None
        return Deferred.DEFERRED

    def _shutdown(self, session: Session, query: messages.Query) -> Any:
        """End the cluster."""
        self._stop()
        return None

    # -- results of other clients -----------------------------------------------------------------

    def _history(self, session: Session, query: messages.Query) -> Any:
        """Return the ids of unclaimed requests of clients that are away."""
        return self._sessions.unclaimed(session)

    def _recall(self, session: Session, query: messages.Query) -> Any:
        """Send the results of another client's request; the value is its id.

        The results are copies: the client that made the request may still return.

        Returns
        -------
        list of int or None
            The engines, or the numbers of the tasks, whose results will arrive.
        """
        id = query.value
        if not isinstance(id, str):
            raise BadQuery("recall takes the id of a request")
        owner = self._sessions.owner_of(id)
        if owner is None or owner is session:
            return None
        owner.recalled.add(id)
        owner.flush()
        request = owner.open.get(id)
        parts: list[int] = []
        results = [result for result in undelivered_results(owner.outbox) if result.reply.id == id]
        for k, (reply, inline, bulk) in enumerate(results):
            reply = self._retained.shown_to(session, reply)
            session.reply(reply, inline, bulk, request is None and k == len(results) - 1)
            parts += [reply.engine] if reply.index < 0 else range(reply.index, reply.index + reply.count)
        if request is not None:
            request.followers = [*request.followers, session]
            parts = [*dict.fromkeys([*parts, *request.targets])]
        return parts

    def _purge(self, session: Session, query: messages.Query) -> Any:
        """Forget results for absent clients; the value is a list of request ids, or None for all results."""
        if query.value is not None and not isinstance(query.value, list):
            raise BadQuery("purge takes a list of request ids")
        for id in self._sessions.unclaimed(session) if query.value is None else query.value:
            owner = self._sessions.owner_of(str(id))
            if owner is not None and owner is not session and owner.listener is None:
                owner.recalled.add(id)
                if owner.left and not owner.open and not unclaimed_requests(owner):
                    self._sessions.pop(owner.name, None)
        return None


ANSWERS: dict[str, Callable[[Queries, Session, messages.Query], Any]] = {
    "queue_status": Queries._queue_status,
    "abort": Queries._abort,
    "signal": Queries._signal,
    "interrupt": Queries._interrupt,
    "debugger": Queries._debugger,
    "restart": Queries._restart,
    "resize": Queries._resize,
    "where": Queries._where,
    "native_stacks": Queries._native_stacks,
    "peek": Queries._peek,
    "usage": Queries._usage,
    "shutdown": Queries._shutdown,
    "history": Queries._history,
    "recall": Queries._recall,
    "purge": Queries._purge,
}


def _all_text(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
