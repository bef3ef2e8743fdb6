"""What the controller itself can be asked: at once, whatever the engines are doing."""

from __future__ import annotations

from collections.abc import Callable
from signal import SIGKILL, valid_signals
from typing import TYPE_CHECKING, Any

from ...protocol import messages
from ..engines.replacement import ReplacementRefused

if TYPE_CHECKING:
    from ..controller import Controller
    from ..sessions.session import Session


_SIGNALS = valid_signals()

LATER = object()  # instead of an answer: it will come
MOST = 100_000  # engines that may be asked for: more would be a mistake


class BadQuery(Exception):
    """The question cannot be answered; the text says why."""


def queue_status(controller: Controller, session: Session, query: messages.Query) -> Any:
    """How long the engines' queues are."""
    return {**controller.scheduler.status(query.targets), "unassigned": controller.balancer.waiting}


def abort(controller: Controller, session: Session, query: messages.Query) -> Any:
    """Take tasks that have not begun out of the queues; ``value`` is a list of ids, or nil for all."""
    wanted = query.value
    if wanted is not None and not (isinstance(wanted, list) and all(isinstance(i, str) for i in wanted)):
        raise BadQuery("abort takes a list of task ids")
    return _abort(controller, wanted, query.targets)


def _abort(controller: Controller, wanted: list[str] | None, targets: list[int]) -> int:
    aborted = controller.scheduler.abort(wanted, targets)
    for job, engine in aborted:
        controller.fail(job, engine, "TaskAborted", "aborted before it began", "aborted")
    return len(aborted) + controller.balancer.abort(wanted)


def signal(controller: Controller, session: Session, query: messages.Query) -> Any:
    """Send a signal to engines; ``value`` is ``[number, task id or ""]``."""
    try:
        number, task = query.value
        message = messages.Signal(int(number), str(task))
    except (TypeError, ValueError):
        raise BadQuery("signal takes a number and a task id") from None
    if message.signum not in _SIGNALS:
        raise BadQuery(f"there is no signal {message.signum}")
    for engine in query.targets:
        if engine in controller.engines:
            if message.signum == SIGKILL:
                controller.kill(engine)
            else:
                controller.send_control(engine, message)
    return None


def interrupt(controller: Controller, session: Session, query: messages.Query) -> Any:
    """Interrupt what runs; answered when the engines are back, or time is over.

    ``value`` is ``[ids or nil, seconds, seconds to wait before, whether to abort what has not begun]``.
    """
    try:
        ids, within, delay, aborts = query.value
        within, delay = min(float(within), 3600.0), min(float(delay), 3600.0)
        ids = None if ids is None else [str(id) for id in ids]
    except (TypeError, ValueError):
        raise BadQuery("interrupt takes task ids, two times and whether to abort") from None

    def abort() -> None:
        if aborts and ids:
            _abort(controller, ids, query.targets)

    controller.pending_queries.interrupt(session, query, ids, within, delay, abort)
    return LATER


def restart(controller: Controller, session: Session, query: messages.Query) -> Any:
    """Replace engines; ``value`` is how many seconds they may be busy before."""
    try:
        within = min(float(query.value), 86400.0)
    except (TypeError, ValueError):
        raise BadQuery("restart takes a time") from None
    try:
        controller.replacement.ask(session, query, within)
    except ReplacementRefused as e:
        raise BadQuery(str(e)) from None
    return LATER


def resize(controller: Controller, session: Session, query: messages.Query) -> Any:
    """End all engines and start ``value`` others."""
    if not isinstance(query.value, int) or not 0 < query.value <= MOST:
        raise BadQuery(f"a cluster has 1 to {MOST} engines")
    try:
        controller.generations.ask(session, query, query.value)
    except ReplacementRefused as e:
        raise BadQuery(str(e)) from None
    return LATER


def where(controller: Controller, session: Session, query: messages.Query) -> Any:
    """What the engines are doing; ``value`` is whether with their stacks."""
    controller.pending_queries.where(session, query, bool(query.value), [])
    return LATER


def peek(controller: Controller, session: Session, query: messages.Query) -> Any:
    """What names, the ``value``, mean on engines that may be busy."""
    if not (isinstance(query.value, list) and query.value and all(isinstance(n, str) for n in query.value)):
        raise BadQuery("peek takes names")
    controller.pending_queries.where(session, query, False, query.value)
    return LATER


def shutdown(controller: Controller, session: Session, query: messages.Query) -> Any:
    """End the whole cluster."""
    controller.stop()
    return None


def history(controller: Controller, session: Session, query: messages.Query) -> Any:
    """The requests of clients that are away, with results that wait or are to come."""
    return controller.clients.waiting(session)


def recall(controller: Controller, session: Session, query: messages.Query) -> Any:
    """Send the results of another client's request; ``value`` is its id.

    Returns the engines whose results come, or the numbers of the tasks.
    They are copies: the one who asked first may still come back.
    """
    id = query.value
    if not isinstance(id, str):
        raise BadQuery("recall takes the id of a request")
    owner = controller.clients.sessions.get(id.rpartition("-")[0].encode())
    if owner is None or owner is session:
        return None
    owner.fetched.add(id)
    engines: list[int] = []
    job = owner.open.get(id)
    waiting = [item for item in owner.waiting() if item[0].id == id]
    for k, (reply, inline, bulk) in enumerate(waiting):
        reply = controller.retained.shown_to(session, reply)
        session.reply(reply, inline, bulk, job is None and k == len(waiting) - 1)
        engines += [reply.engine] if reply.index < 0 else range(reply.index, reply.index + reply.count)
    if job is not None:
        job.followers = [*job.followers, session]
        engines = [*dict.fromkeys([*engines, *job.targets])]
    return engines


def purge(controller: Controller, session: Session, query: messages.Query) -> Any:
    """Forget what waits for clients that are away: requests with these ids, or all."""
    if query.value is not None and not isinstance(query.value, list):
        raise BadQuery("purge takes a list of request ids")
    for id in controller.clients.waiting(session) if query.value is None else query.value:
        owner = controller.clients.sessions.get(str(id).rpartition("-")[0].encode())
        if owner is not None and owner is not session and owner.listener is None:
            owner.fetched.add(id)
            if owner.left and not controller.clients.waiting_for(owner):
                controller.clients.forget(owner)
    return None


ANSWERS: dict[str, Callable[[Controller, Session, messages.Query], Any]] = {
    "queue_status": queue_status,
    "abort": abort,
    "signal": signal,
    "interrupt": interrupt,
    "restart": restart,
    "resize": resize,
    "where": where,
    "peek": peek,
    "shutdown": shutdown,
    "history": history,
    "recall": recall,
    "purge": purge,
}
