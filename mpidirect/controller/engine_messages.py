"""Hands each message of an engine to the part that handles it."""

from __future__ import annotations

from typing import Any, Protocol

from ..protocol import messages
from ..transport.base import Listener
from .clients.debuggers import Debuggers
from .clients.pending_queries import PendingQueries
from .engine_registry import EngineRegistry
from .engines.links import EngineMessenger
from .lifecycle import EngineLifecycle
from .scheduling.scheduler import Scheduler
from .scheduling.task_results import TaskResults


class EngineConnections(EngineMessenger, Protocol):
    """The connections of the engines, at one or two listeners."""

    @property
    def listeners(self) -> list[Any]:
        """Return the listeners."""

    def joined(self, name: bytes, engine: int, listener: Listener, number: int, /) -> bool:
        """Note a connection of an engine; return whether the engine has all its connections now."""

    def engine_of(self, name: bytes, /) -> int:
        """Return the engine of a connection."""

    def departed(self, listener: Listener, /) -> list[int]:
        """Return the engines whose connections at a listener have closed since the last call."""


class EngineMessages:
    """Receives the messages of the engines."""

    def __init__(
        self,
        link: EngineConnections,
        registry: EngineRegistry,
        scheduler: Scheduler,
        results: TaskResults,
        lifecycle: EngineLifecycle,
        pending_queries: PendingQueries,
        debuggers: Debuggers,
    ) -> None:
        self._link = link
        self._registry = registry
        self._scheduler = scheduler
        self._results = results
        self._lifecycle = lifecycle
        self._pending_queries = pending_queries
        self._debuggers = debuggers

    def departed(self, listener: Listener) -> None:
        """Note that connections of engines have closed."""
        for engine in self._link.departed(listener):
            self._lifecycle.disconnected(engine)

    def receive(self, listener: Listener, name: bytes) -> None:
        """Take the rest of a message of an engine."""
        message = messages.decode_from_engine(listener.first())
        if isinstance(message, messages.EngineHello):
            self.departed(listener)  # an older connection may have had the same number
            if self._link.joined(name, message.engine, listener, listener.number()):
                self._lifecycle.connected(message)
            return
        engine = self._link.engine_of(name)
        if isinstance(message, messages.TaskDone):
            if self._results.task_done(engine, message, listener.rest()):
                self._go_on(engine, message.left)
        elif isinstance(message, messages.BatchDone):
            if self._results.batch_done(engine, message, listener.rest()):
                self._go_on(engine, message.left)
        elif isinstance(message, messages.Output):
            self._results.relay_output(engine, message)
        elif isinstance(message, messages.Moved):
            self._results.result_moved(engine, message)
        elif isinstance(message, messages.Resend):
            self._results.resend(engine, message.id)
        elif isinstance(message, messages.DataFetched):
            self._results.data_fetched(engine, message.id)
        elif isinstance(message, messages.DataArriving):
            self._results.data_arriving(engine, message)
        elif isinstance(message, messages.TasksAborted):
            self._results.tasks_aborted(engine, message.ids)
            self._scheduler.next(engine)
        elif isinstance(message, messages.DebuggerWaits):
            self._debuggers.changed(engine, message)
        elif isinstance(message, messages.ProcessesExamined):
            self._pending_queries.examined(message)
        elif isinstance(message, messages.Inspection):
            self._debuggers.complete(engine, message)
            self._pending_queries.inspected(engine, message)
        else:
            self._about_engine(engine, message)

    def _go_on(self, engine: int, left: str) -> None:
        """Hand out the next task; `left` tells why the engine has left its communicator, if it has."""
        if left:
            self._lifecycle.repair.broken(left)
        self._scheduler.next(engine)

    def _about_engine(self, engine: int, message: messages.Message) -> None:
        """Take a report of an engine on itself or on its communicators."""
        lifecycle = self._lifecycle
        if isinstance(message, messages.EnginePlaced):
            lifecycle.placed(engine, message)
        elif isinstance(message, messages.CommunicatorRevoked):
            for other in self._registry.alive:
                self._link.send_control(other, messages.ProgressMPI())
        elif isinstance(message, messages.CommunicatorsMade):
            lifecycle.repair.made(engine, message)
            lifecycle.replacement.made(engine, message)
        elif isinstance(message, messages.EnginesSpawned):
            lifecycle.replacement.spawned(engine, message)
        elif isinstance(message, messages.ReadyToJoin):
            lifecycle.replacement.ready(engine, message)
