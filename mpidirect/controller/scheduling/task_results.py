"""Forwards the results of tasks from engines to the clients that wait for them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from functools import partial

from ...protocol import messages
from ...protocol.frames import Frame
from ..engine_registry import EngineRegistry
from ..sessions.downloads import Downloads, Loss
from ..sessions.replies import Replies
from ..sessions.retained_results import RetainedResults
from ..sessions.session import Session
from ..sessions.sessions import Sessions
from ..sessions.undelivered import TOO_LARGE, expired_reply
from .balancer import Balancer
from .scheduler import ActiveRequest, Scheduler
from .task_batch import TaskBatch

log = logging.getLogger(__name__)

ANNOUNCED_SIZE = 1024 * 1024  # minimum bytes of a result whose size is announced to clients


class TaskResults:
    """Forwards the engines' reports on tasks."""

    def __init__(
        self,
        scheduler: Scheduler,
        balancer: Balancer,
        registry: EngineRegistry,
        sessions: Sessions,
        downloads: Downloads,
        retained: RetainedResults,
        replies: Replies,
    ) -> None:
        self._scheduler = scheduler
        self._balancer = balancer
        self._registry = registry
        self._sessions = sessions
        self._downloads = downloads
        self._retained = retained
        self._replies = replies
        # bytes of each engine's output files that belong to ended tasks
        self._reported_output: dict[int, tuple[int, int]] = {}

    # -- the end of tasks -------------------------------------------------------------------------

    def task_done(self, engine: int, done: messages.TaskDone, inline: Sequence[Frame]) -> bool:
        """Forward the result of a task; return False if the engine did not have the task."""
        request = self._scheduler.done(engine, done.id)
        if request is None:
            log.warning("engine %d answered %s, which it was not asked", engine, done.id)
            return False
        self._reported_output[engine] = done.ends
        if done.addresses:
            self._retained.add(done.id, engine, request.client, done.addresses, sum(done.frames))
        elif bulk := [size for size in done.frames if size >= messages.BULK]:
            self._announce_size(request, sum(bulk))
            arrived = partial(self._bulk_arrived, request, engine, done, inline)
            self._downloads.receive(engine, request.client, bulk, arrived)
            return True
        self._reply(request, self._reply_of(engine, done), inline)
        return True

    def _announce_size(self, request: ActiveRequest, size: int) -> None:
        """Tell the client the size of all results of a request together, before large results arrive."""
        request.result_size += size
        if not request.open and request.result_size >= ANNOUNCED_SIZE:
            request.client.notify(messages.ResultSize, request.id, request.result_size)

    def batch_done(self, engine: int, message: messages.BatchDone, inline: Sequence[Frame]) -> bool:
        """Take the results of a batch; return False if the engine did not have the batch."""
        batch = self._scheduler.done(engine, message.id)
        if not isinstance(batch, TaskBatch):
            log.warning("engine %d answered %s, which it was not asked", engine, message.id)
            return False
        self._balancer.batch_done(engine, batch, message, inline)
        return True

    def tasks_aborted(self, engine: int, tasks: Iterable[str]) -> None:
        """End tasks that an engine will not begin."""
        for task in tasks:
            request = self._scheduler.done(engine, task)
            if isinstance(request, TaskBatch):
                self._balancer.batch_done(engine, request, messages.BatchDone(task, []), [])
            elif request is not None:
                self.abort(request, engine)

    def abort(self, request: ActiveRequest, engine: int) -> None:
        """End a task that does not begin, and those parts of its request that may wait for the task."""
        self.fail(request, engine, "TaskAborted", "aborted before it began")
        self._scheduler.interrupt_rest(request)

    def _bulk_arrived(
        self,
        request: ActiveRequest,
        engine: int,
        done: messages.TaskDone,
        inline: Sequence[Frame],
        pieces: Sequence[Frame] | Loss,
    ) -> None:
        """Forward the bulk data of a result, or the reason why it does not arrive."""
        if pieces is Loss.NO_MEMORY:
            why = f"the controller has no room for a result of {sum(done.frames):,} bytes (ulimit -v)"
            self.fail(request, engine, "MemoryError", why)
        elif pieces is Loss.ENGINE_DIED:
            self.fail(request, engine, "EngineError", self._registry.lost[engine])
        elif pieces is Loss.OVER_BUDGET:
            self._reply(request, expired_reply(self._reply_of(engine, done), TOO_LARGE))
        else:
            self._reply(request, self._reply_of(engine, done), inline, pieces)

    def _reply_of(self, engine: int, done: messages.TaskDone) -> messages.Reply:
        return messages.Reply(
            done.id,
            engine,
            done.status,
            done.frames,
            done.started,
            done.completed,
            done.stdout,
            done.stderr,
            done.failure,
            done.addresses,
            self._registry.alive[engine].pid if done.addresses else 0,
            done.outputs,
        )

    def fail(
        self,
        request: ActiveRequest,
        engine: int,
        ename: str,
        evalue: str,
        traceback: str = "",
        stdout: str = "",
        stderr: str = "",
    ) -> None:
        """End a task for which its engine will not reply."""
        request.open.discard(engine)
        now = time.time()
        status = "aborted" if ename == "TaskAborted" else "error"
        hint = self._registry.hint_for(ename, engine)
        failure = messages.Failure(ename, evalue, traceback, request.method, hint)
        reply = messages.Reply(request.id, engine, status, [], now, now, stdout, stderr, failure)
        self._reply(request, reply)

    def _reply(
        self,
        request: ActiveRequest,
        reply: messages.Reply,
        inline: Sequence[Frame] = (),
        bulk: Sequence[Frame] = (),
    ) -> None:
        self._replies.send(request, reply, inline, bulk)
        self._balancer.dependencies.note(request.id, reply.engine, 1, reply.engine, reply.status == "ok")

    # -- tasks that run ---------------------------------------------------------------------------

    def relay_output(self, engine: int, output: messages.Output) -> None:
        """Relay the output of a running task. The output of a task of a batch travels with its reply."""
        request = self._scheduler.find(engine, output.id)
        if isinstance(request, TaskBatch):
            return
        readers: list[Session] = []
        if request is not None:
            readers = [request.client, *request.followers]
        elif all(piece.at == messages.AFTER_TASK for piece in output.pieces):
            owner = self._sessions.owner_of(output.id)
            readers = [] if owner is None else [owner]
        for session in readers:
            session.relay_output(output.id, engine, output.pieces)

    def result_moved(self, engine: int, message: messages.Moved) -> None:
        """Tell the readers of a retained result its new addresses."""
        for session in self._retained.moved(message.id, engine, message.addresses):
            session.notify(messages.ResultMoved, message.id, engine, message.addresses)

    def data_fetched(self, engine: int, task: str) -> None:
        """Note that an engine has read a request's data. After the last engine, tell the client."""
        request = self._scheduler.find(engine, task)
        if request is not None and request.delivery.fetched(engine):
            request.client.notify(messages.DataRead, task)

    def data_arriving(self, engine: int, message: messages.DataArriving) -> None:
        """Tell the client, in intervals, how much of a request's data has arrived at the engines."""
        request = self._scheduler.find(engine, message.id)
        if request is None or not request.bulk:
            return
        delivery, client = request.delivery, request.client
        delivery.arriving(engine, message.moved)
        moved = delivery.arrived(request.open)
        if moved and client.listener is not None and delivery.upload.report_due():
            client.notify(messages.DataMoving, request.id, moved, delivery.upload.outgoing)

    def resend(self, engine: int, task: str) -> None:
        """Send the data again that a broken collective has not brought to an engine."""
        request = self._scheduler.find(engine, task)
        if request is not None:
            request.delivery.resend(engine)

    # -- engines that join and leave --------------------------------------------------------------

    def engine_joined(self, engine: int) -> None:
        """Note that an engine with new output files has joined."""
        self._reported_output.pop(engine, None)

    def take_reported_output(self, engine: int) -> tuple[int, int]:
        """Return how many bytes of an engine's output files belong to tasks that have ended."""
        return self._reported_output.pop(engine, (0, 0))

    def engine_lost(
        self,
        engine: int,
        requests: Iterable[ActiveRequest],
        why: str,
        traceback: str,
        printed: tuple[str, str],
    ) -> None:
        """End the tasks of a dead engine.

        Parameters
        ----------
        engine : int
            The engine.
        requests : iterable of ActiveRequest
            The requests of its tasks, in the order of the tasks.
        why : str
            How the engine ended.
        traceback : str
            The end of its log.
        printed : (str, str)
            The output of the running task: stdout and stderr.
        """
        self._retained.engine_lost(engine)
        for k, request in enumerate(requests):
            # An engine runs its tasks in order, so the first task was running.
            if isinstance(request, TaskBatch):
                self._balancer.batch_lost(request, engine, begun=k == 0)
            else:
                self.fail(request, engine, "EngineError", why, traceback, *printed)
            printed = "", ""
        self._balancer.engine_lost(engine)
