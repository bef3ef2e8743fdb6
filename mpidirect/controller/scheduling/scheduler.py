"""The task queues of the engines.

Each engine has a queue. A request enters the queues of all its targets at once, so all engines see requests
in one order, and collectives cannot cross. A few small tasks are sent before an engine is free, which hides
the round trip. A task with bulk data is sent only to an idle engine, so a busy engine never delays another
engine.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Protocol

from ...protocol import messages
from ..sessions.session import Session
from ..sessions.uploads import Upload
from .delivery import UNDECIDED

PREFETCH = 16  # maximum number of small tasks that an engine may have before they begin


class WhenIdle(Enum):
    """A task source returns this instead of a task if the engine gets a task as soon as it is idle."""

    WHEN_IDLE = 0


class ActiveRequest:
    """A request on chosen engines, until all of them have replied.

    Parameters
    ----------
    id : str
        The id of its tasks, the same on all engines.
    client : Session
        The session of the client that made the request.
    method : str
        The name of the client's method, for error messages.
    targets : list of int
        The engines.
    upload : Upload
        The frames of the request.
    """

    __slots__ = (
        "aborting",
        "begun",
        "bulk",
        "client",
        "delivery",
        "followers",
        "id",
        "method",
        "open",
        "request_id",
        "result_size",
        "targets",
        "upload",
    )

    def __init__(self, id: str, client: Session, method: str, targets: list[int], upload: Upload) -> None:
        self.id = id
        self.request_id = id  # the id that the client knows
        self.client = client
        self.followers: Sequence[Session] = ()  # other clients that have asked for the result
        self.method = method
        self.targets = targets
        self.upload = upload
        self.bulk = upload.bulk
        self.delivery = UNDECIDED  # chosen when the request is handed to the scheduler
        self.result_size = 0  # bytes of the bulk results that travel through the controller
        self.begun = False  # whether an engine has, or had, the task
        self.open = set(targets)  # engines that have not answered
        self.aborting: Iterable[int] = ()  # engines that were told to abort it, and may have begun it

    @property
    def submitted(self) -> bool:
        """Return whether the request was handed to the scheduler."""
        return self.delivery is not UNDECIDED

    @property
    def complete(self) -> bool:
        """Return whether all engines have replied."""
        return not self.open


class TaskTransport(Protocol):
    """Sends tasks and control messages to engines."""

    def send_task(self, engine: int, request: ActiveRequest) -> None:
        """Send an engine's task of a request, with its bulk data."""

    def send_control(self, engine: int, message: messages.Message) -> None:
        """Send a message to an engine's control thread."""


class TaskSource(Protocol):
    """Has tasks that run on any free engine."""

    def take(self, engine: EngineQueue) -> ActiveRequest | WhenIdle | None:
        """Return the next tasks for an engine, if any; `WHEN_IDLE` if the engine must be idle first."""


class EngineQueue:
    """The tasks of one engine."""

    __slots__ = ("balanced_turn", "completed", "id", "queue", "sent")

    def __init__(self, id: int) -> None:
        self.id = id
        self.queue: deque[ActiveRequest] = deque()  # tasks that wait in the controller
        self.sent: dict[str, ActiveRequest] = {}  # tasks that the engine has, in their order
        self.completed = 0
        self.balanced_turn = True  # whether balanced tasks come before the tasks of the queue

    @property
    def idle(self) -> bool:
        """Return whether no task waits for the engine, and the engine has none."""
        return not self.sent and not self.queue


class Scheduler:
    """The queues of all living engines.

    Attributes
    ----------
    admits : callable
        Tells whether a request may begin now.
    balancer : TaskSource or None
        The source of balanced tasks.
    """

    def __init__(self, transport: TaskTransport) -> None:
        self.transport = transport
        self.engines: dict[int, EngineQueue] = {}
        self.admits: Callable[[ActiveRequest], bool] = lambda request: True
        self.balancer: TaskSource | None = None

    # -- requests ---------------------------------------------------------------------------------

    def submit(self, request: ActiveRequest) -> list[int]:
        """Queue a request on its targets; return the targets that are not alive."""
        missing = [target for target in request.targets if target not in self.engines]
        for target in request.targets:
            engine = self.engines.get(target)
            if engine is not None:
                engine.queue.append(request)
                self._hand_out(engine)
        request.open.difference_update(missing)
        return missing

    def done(self, engine_id: int, task: str) -> ActiveRequest | None:
        """Note that an engine has ended a task; return its request, or None if the engine did not have it."""
        engine = self.engines.get(engine_id)
        request = engine.sent.pop(task, None) if engine else None
        if engine is None or request is None:
            return None
        engine.completed += 1
        request.open.discard(engine_id)
        return request

    def find(self, engine_id: int, task: str) -> ActiveRequest | None:
        """Return the request of a task that an engine has."""
        engine = self.engines.get(engine_id)
        return engine.sent.get(task) if engine else None

    def all(self) -> set[ActiveRequest]:
        """Return the requests that wait or run."""
        return {request for e in self.engines.values() for request in (*e.sent.values(), *e.queue)}

    def idle(self, targets: Iterable[int]) -> bool:
        """Return whether all these engines are alive and idle."""
        return all((engine := self.engines.get(t)) is not None and engine.idle for t in targets)

    def begins_at_once(self, request: ActiveRequest) -> bool:
        """Return whether all targets would begin a request now, so its task may go before its data."""
        return self.admits(request) and self.idle(request.targets)

    def next(self, engine_id: int) -> None:
        """Hand out what an engine can take now."""
        engine = self.engines.get(engine_id)
        if engine is not None:
            self._hand_out(engine)

    def resume(self) -> None:
        """Hand out what all engines can take now."""
        for engine in list(self.engines):
            self.next(engine)

    def _hand_out(self, engine: EngineQueue) -> None:
        """Hand out tasks of the engine's queue and of the balancer, in turns.

        At the limit a turn does not change: otherwise the other side would always find a full engine.
        """
        queue, sent, balancer = engine.queue, engine.sent, self.balancer
        while len(sent) < PREFETCH:
            request = None
            if balancer is not None and (engine.balanced_turn or not queue):
                taken = balancer.take(engine)
                if isinstance(taken, WhenIdle):
                    return
                request = taken
                engine.balanced_turn = False
            if request is None:
                if not queue:
                    return
                request = queue[0]
                if (sent and request.bulk) or not self.admits(request):
                    return
                queue.popleft()
                engine.balanced_turn = True
            request.begun = True
            sent[request.id] = request
            self.transport.send_task(engine.id, request)

    def abort(
        self, wanted: Iterable[str] | None, targets: Iterable[int], interrupts_rest: bool
    ) -> list[tuple[ActiveRequest, int]]:
        """Remove tasks from the queues: of the requests `wanted`, or of all.

        Tasks that an engine has are aborted there, if they have not begun; the engine answers them. With
        `interrupts_rest`, `interrupt_rest` will interrupt those of these targets that have begun.

        Returns
        -------
        list of (ActiveRequest, int)
            The removed tasks: their requests and engines.
        """
        ids = None if wanted is None else set(wanted)
        removed = []
        for target in targets:
            engine = self.engines.get(target)
            if engine is None:
                continue
            kept: deque[ActiveRequest] = deque()
            for request in engine.queue:
                if ids is None or request.id in ids:
                    request.open.discard(target)
                    removed.append((request, target))
                else:
                    kept.append(request)
            engine.queue = kept
            sent = [request for request in engine.sent.values() if ids is None or request.id in ids]
            if sent:
                self.transport.send_control(target, messages.AbortTasks([request.id for request in sent]))
            if interrupts_rest:
                for request in sent:
                    request.aborting = [*request.aborting, target]
        return removed

    def interrupt_rest(self, request: ActiveRequest) -> None:
        """Interrupt a request where it has begun: a part of it was aborted, for which others may wait."""
        engines, request.aborting = request.aborting, ()
        for engine in engines:
            if self.find(engine, request.id) is not None:
                self.transport.send_control(engine, messages.Signal(signal.SIGINT, request.id))

    # -- engines ----------------------------------------------------------------------------------

    def add(self, engine: int) -> None:
        """Add an engine with an empty queue."""
        self.engines[engine] = EngineQueue(engine)

    def remove(self, engine_id: int) -> list[ActiveRequest]:
        """Remove an engine; return the requests of its tasks, in the order of the tasks."""
        engine = self.engines.pop(engine_id, None)
        if engine is None:
            return []
        requests = [*engine.sent.values(), *engine.queue]
        for request in requests:
            request.open.discard(engine_id)
        return requests

    def status(self, targets: Iterable[int]) -> dict[int, dict[str, int]]:
        """Return the numbers of waiting, assigned and completed tasks, for each engine."""
        return {
            target: {"queue": len(e.queue), "tasks": len(e.sent), "completed": e.completed}
            for target in targets
            if (e := self.engines.get(target)) is not None
        }
