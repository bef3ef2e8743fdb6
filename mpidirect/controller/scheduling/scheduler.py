"""Which engine gets which task when: queues, and nothing else.

Each engine has a queue; a request enters the queues of all of its targets at once, so all engines
see requests in one order, and collectives can't cross.  A few small tasks are handed out ahead of
time, which hides the way there and back.  A task with bulk data goes only to an engine that is idle
and ready to receive it, so a busy engine never delays another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from ...protocol import messages

LATER = object()  # instead of a task: there is one for this engine as soon as it is idle
AHEAD = 16  # small tasks that an engine may hold before it has begun them


class ActiveRequest:
    """A request while it is under way."""

    __slots__ = (
        "begun",
        "bulk",
        "client",
        "fetching",
        "followers",
        "id",
        "method",
        "open",
        "payload",
        "request",
        "targets",
    )

    balanced = False

    def __init__(self, id: str, client: Any, method: str, targets: list[int], payload: Any) -> None:
        self.id = id
        self.request = id  # what the client calls it
        self.client = client
        self.followers: Sequence[Any] = ()  # other clients that have asked for the result
        self.method = method
        self.targets = targets
        self.payload = payload
        self.bulk: bool = payload.bulk
        self.begun = False  # whether an engine has it, or had it
        self.open = set(targets)
        self.fetching: set[int] = set()  # engines that read the data out of the client's memory


class TaskTransport(Protocol):
    """What carries a task to an engine."""

    def send_task(self, engine: int, job: ActiveRequest) -> None:
        """Send `job` to `engine`, its bulk data included."""

    def send_control(self, engine: int, message: messages.Message) -> None:
        """Send a message to the engine's control thread."""


class TaskSource(Protocol):
    """Who has tasks for whichever engine is free."""

    def take(self, engine: EngineQueue) -> Any:
        """The next of them for an engine, if it should have some now; `LATER` if it has to be idle."""


class EngineQueue:
    """An engine as the scheduler sees it."""

    __slots__ = ("completed", "id", "queue", "sent", "shares")

    def __init__(self, id: int) -> None:
        self.id = id
        self.queue: deque[ActiveRequest] = deque()  # waiting here
        self.sent: dict[str, ActiveRequest] = {}  # waiting or running there
        self.completed = 0
        self.shares = True  # whether tasks for any engine come before those in the queue


class Scheduler:
    """The queues of all engines that live."""

    def __init__(self, transport: TaskTransport) -> None:
        self.transport = transport
        self.engines: dict[int, EngineQueue] = {}
        self.admits: Callable[[ActiveRequest], bool] = lambda job: True  # whether a task may begin now
        self.balance: TaskSource | None = None

    def add(self, engine: int) -> None:
        """An engine is there."""
        self.engines[engine] = EngineQueue(engine)

    def submit(self, job: ActiveRequest) -> list[int]:
        """Queue `job` on its targets; returns those that don't live (any more)."""
        missing = [t for t in job.targets if t not in self.engines]
        for target in job.targets:
            engine = self.engines.get(target)
            if engine is not None:
                engine.queue.append(job)
                self._hand_out(engine)
        job.open.difference_update(missing)
        return missing

    def done(self, engine_id: int, task: str) -> ActiveRequest | None:
        """The engine has ended this task; returns its job, or None if it was not expected."""
        engine = self.engines.get(engine_id)
        job = engine.sent.pop(task, None) if engine else None
        if engine is None or job is None:
            return None
        engine.completed += 1
        job.open.discard(engine_id)
        return job

    def job(self, engine_id: int, task: str) -> ActiveRequest | None:
        """The job of a task that the engine has."""
        engine = self.engines.get(engine_id)
        return engine.sent.get(task) if engine else None

    def all(self) -> set[ActiveRequest]:
        """The jobs that wait or run."""
        return {job for e in self.engines.values() for job in (*e.sent.values(), *e.queue)}

    def idle(self, targets: Iterable[int]) -> bool:
        """Whether all of these engines are free now."""
        return all((e := self.engines.get(t)) is not None and not e.sent and not e.queue for t in targets)

    def takes(self, job: ActiveRequest) -> bool:
        """Whether all of its targets would begin this job at once: only then its data may go before it."""
        return self.admits(job) and self.idle(job.targets)

    def next(self, engine_id: int) -> None:
        """The engine may be free: hand out what it can take now."""
        engine = self.engines.get(engine_id)
        if engine is not None:
            self._hand_out(engine)

    def _hand_out(self, engine: EngineQueue) -> None:
        """Give an engine what it can take: of its own queue, and of what any engine may do, in turns."""
        queue, sent, balance = engine.queue, engine.sent, self.balance
        while len(sent) < AHEAD:  # else nobody's turn is over: the other one would always meet a full engine
            job = None
            if balance is not None and (engine.shares or not queue):
                job = balance.take(engine)
                if job is LATER:
                    return
                engine.shares = False
            if job is None:
                if not queue:
                    return
                job = queue[0]
                if (sent and job.bulk) or not self.admits(job):
                    return
                queue.popleft()
                engine.shares = True
            job.begun = True
            sent[job.id] = job
            self.transport.send_task(engine.id, job)

    def abort(self, wanted: Iterable[str] | None, targets: Iterable[int]) -> list[tuple[ActiveRequest, int]]:
        """Take tasks out of the queues: those with the ids `wanted`, or all.

        What waits here is taken out and returned, as pairs of job and engine.  What waits on an engine is
        aborted there, if it has not begun, and answered from there.
        """
        ids = None if wanted is None else set(wanted)
        aborted = []
        for target in targets:
            engine = self.engines.get(target)
            if engine is None:
                continue
            keep: deque[ActiveRequest] = deque()
            for job in engine.queue:
                if ids is None or job.id in ids:
                    job.open.discard(target)
                    aborted.append((job, target))
                else:
                    keep.append(job)
            engine.queue = keep
            there = [task for task in engine.sent if ids is None or task in ids]
            if there:
                self.transport.send_control(target, messages.AbortTasks(there))
        return aborted

    def remove(self, engine_id: int) -> list[ActiveRequest]:
        """The engine is gone; returns the jobs that it was to do."""
        engine = self.engines.pop(engine_id, None)
        if engine is None:
            return []
        jobs = [*engine.sent.values(), *engine.queue]
        for job in jobs:
            job.open.discard(engine_id)
        return jobs

    def status(self, targets: Iterable[int]) -> dict[int, dict[str, int]]:
        """Per engine: tasks that wait, that were handed out, that were completed."""
        return {
            t: {"queue": len(e.queue), "tasks": len(e.sent), "completed": e.completed}
            for t in targets
            if (e := self.engines.get(t)) is not None
        }
