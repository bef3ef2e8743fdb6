"""The distribution of balanced requests: which free engine gets which tasks.

Tasks go to a free engine. Short tasks are sent before an engine is free, and many together, so that engines
need not wait for the round trip. The balancer learns from ended tasks how long a task takes. If an engine has
not begun a task after some time, or dies, the task returns and goes to another engine.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from ...protocol import messages
from ...protocol.frames import Frame
from ..engine_registry import EngineRegistry
from ..sessions.downloads import Downloads, Loss
from ..sessions.replies import Replies
from ..sessions.undelivered import TOO_LARGE
from .balanced_request import BATCH_TIME, BalancedRequest, TaskRange
from .client_queues import ClientQueues
from .dependency_tracker import DependencyTracker
from .scheduler import EngineQueue, Scheduler, WhenIdle
from .task_batch import TaskBatch

log = logging.getLogger(__name__)

PREFETCH_TIME = 2 * BATCH_TIME  # seconds of tasks that an engine may get before it has ended the earlier ones
MAX_PACES = 1024  # maximum number of functions whose pace is remembered


class Balancer:
    """The tasks that run on any free engine."""

    def __init__(
        self, scheduler: Scheduler, registry: EngineRegistry, downloads: Downloads, replies: Replies
    ) -> None:
        self._scheduler = scheduler
        self._registry = registry
        self._downloads = downloads
        self._replies = replies
        self._requests: dict[str, BalancedRequest] = {}  # requests with tasks that have not ended, by id
        self._queues = ClientQueues()
        # the seconds of one item, by client and method
        self._paces: OrderedDict[tuple[bytes, str], float] = OrderedDict()
        self._batch_count = 0
        self._last_batch: dict[int, int] = {}  # the number of the latest batch of each engine
        self.dependencies = DependencyTracker(self._begin, self._end_waiting)
        # whether new tasks may begin on an engine
        self.admits_on: Callable[[int], bool] = lambda engine: True
        scheduler.balancer = self

    @property
    def waiting(self) -> int:
        """Return the number of tasks that wait for an engine, or for other tasks."""
        return sum(request.waiting for request in self._requests.values())

    # -- new requests -----------------------------------------------------------------------------

    def submit(self, request: BalancedRequest) -> None:
        """Take a request whose data is complete."""
        request.pace = self._paces.get((request.client.name, request.method))
        self._requests[request.id] = request
        self.dependencies.submit(request)

    def refuse(self, request: BalancedRequest, ename: str, evalue: str) -> None:
        """End a request whose data will not arrive."""
        self._requests[request.id] = request
        self.dependencies.register(request.id, request.total)
        self._end_waiting(request, ename, evalue)

    def _begin(self, request: BalancedRequest) -> None:
        """Let the tasks of a request begin."""
        if why := self._why_impossible(request):
            self._end_waiting(request, "EngineError", why)
            return
        self._queues.add(request)
        self._offer(request)

    def _why_impossible(self, request: BalancedRequest) -> str:
        """Return why no engine will ever run a request; empty if an engine may run it."""
        registry = self._registry
        if any(request.may_run_on(engine) for engine in registry.alive):
            return ""
        for engine in sorted(request.allowed or registry.lost):
            if engine in registry.lost:
                return f"no engine is left for it: {registry.lost[engine]}"
        return f"there is no engine {sorted(request.allowed)}" if request.allowed else "there is no engine"

    def _offer(self, request: BalancedRequest) -> None:
        """Let the engines that may run a request take tasks, the least busy engines first."""
        engines = self._scheduler.engines
        if request.allowed:
            chosen = [engine for id in request.allowed if (engine := engines.get(id)) is not None]
        else:
            chosen = list(engines.values())
        if len(chosen) > 1:
            # Of the idle engines, the latest used one is first: its processor caches still have its data.
            chosen.sort(key=lambda e: (len(e.sent), -self._last_batch.get(e.id, 0)))
        for engine in chosen:
            if not request.has_waiting or request.end_reason:
                return
            self._scheduler.next(engine.id)

    # -- tasks for an engine ----------------------------------------------------------------------

    def take(self, engine: EngineQueue) -> TaskBatch | WhenIdle | None:
        """Return the next tasks for an engine, if any; `WHEN_IDLE` if the engine must be idle first."""
        if not self._queues.turns or not self.admits_on(engine.id) or not self._may_have_more(engine):
            return None
        for request in self._queues.candidates(engine.id):
            if engine.sent and (request.bulk or (request.pace or 1.0) > PREFETCH_TIME) and not engine.queue:
                continue
            if engine.sent and request.bulk:
                # otherwise the tasks in the queue could keep the engine busy for ever
                return WhenIdle.WHEN_IDLE
            tasks = request.take(engine.id, len(self._registry.alive))
            if not request.has_waiting:
                self._queues.discard(request)
            if tasks is not None:
                self._batch_count += 1
                self._last_batch[engine.id] = self._batch_count
                return TaskBatch(request, engine.id, tasks)
        return None

    @staticmethod
    def _may_have_more(engine: EngineQueue) -> bool:
        """Return whether an engine may get more tasks, beside those that it has."""
        sent, seconds = engine.sent.values(), 0.0
        for task in sent:
            if not isinstance(task, TaskBatch) or not task.seconds:
                return bool(engine.queue) and not any(isinstance(other, TaskBatch) for other in sent)
            seconds += task.seconds
        return seconds <= PREFETCH_TIME

    # -- the end of tasks -------------------------------------------------------------------------

    def batch_done(
        self, engine: int, batch: TaskBatch, message: messages.BatchDone, frames: Sequence[Frame]
    ) -> None:
        """Take the results of a batch; tasks of the batch that have not begun wait again."""
        request, (first, stop) = batch.balanced_request, batch.tasks
        done, used = first, 0
        for end in message.ends:
            if end.first != done or end.count < 1 or end.first + end.count > stop:
                log.warning("engine %d answered tasks of %s that it was not asked", engine, batch.id)
                break
            inline = frames[used : used + sum(size < messages.BULK for size in end.frames)]
            used += len(inline)
            done += end.count
            self._items_done(request, engine, end, inline)
        if not message.ends:
            request.function_holders.discard(engine)  # the engine may not have the function
        elif done > first:
            request.took(message.ends[-1].completed - message.ends[0].started, done - first)
            self._remember_pace(request)
        if done < stop:
            self._give_back(request, TaskRange(done, stop))
        if request.has_waiting and request.unanswered and not request.end_reason:
            self._offer(request)

    def _items_done(
        self, request: BalancedRequest, engine: int, end: messages.ItemsDone, inline: Sequence[Frame]
    ) -> None:
        request.item_bytes = max(request.item_bytes, sum(end.frames) / end.count)
        bulk = [size for size in end.frames if size >= messages.BULK]
        if not bulk:
            self._finish(request, engine, end, inline)
            return
        arrived = partial(self._bulk_arrived, request, engine, end, inline)
        self._downloads.receive(engine, request.client, bulk, arrived)

    def _bulk_arrived(
        self,
        request: BalancedRequest,
        engine: int,
        end: messages.ItemsDone,
        inline: Sequence[Frame],
        pieces: Sequence[Frame] | Loss,
    ) -> None:
        """Take the bulk data of a result, or the reason why it does not arrive."""
        tasks = TaskRange(end.first, end.first + end.count)
        if pieces is Loss.NO_MEMORY:
            text = f"the controller has no room for a result of {sum(end.frames):,} bytes (ulimit -v)"
            self._fail(request, tasks, "MemoryError", text, engine=engine)
        elif pieces is Loss.ENGINE_DIED:
            self._tasks_lost(request, tasks, engine, begun=True)
        elif pieces is Loss.OVER_BUDGET:
            self._fail(request, tasks, "ResultExpired", TOO_LARGE, engine=engine)
        else:
            self._finish(request, engine, end, inline, pieces)

    def _finish(
        self,
        request: BalancedRequest,
        engine: int,
        end: messages.ItemsDone,
        inline: Sequence[Frame],
        bulk: Sequence[Frame] = (),
    ) -> None:
        """Reply to the client, or let failed tasks begin again."""
        failure = end.failure
        if failure is not None and not request.end_reason and failure.ename != "KeyboardInterrupt":
            unmet = failure.ename == "UnmetDependency"
            tasks = TaskRange(end.first, end.first + end.count)
            if request.retry(tasks, engine, counts=not unmet):
                self._retry_elsewhere(request, unmet, failure)
                return
        reply = messages.Reply(
            request.id,
            engine,
            end.status,
            end.frames,
            end.started,
            end.completed,
            end.stdout,
            end.stderr,
            failure,
            outputs=end.outputs,
            index=end.first,
            count=end.count,
        )
        self._reply(request, reply, inline, bulk)

    def _retry_elsewhere(self, request: BalancedRequest, unmet: bool, failure: messages.Failure) -> None:
        engines = [engine for engine in self._registry.alive if request.may_run_on(engine)]
        if unmet:
            text = f"no engine meets what the task needs; the last one said: {failure.evalue}"
            for tasks in request.take_impossible(engines):
                self._fail(request, tasks, "ImpossibleDependency", text, traceback=failure.traceback)
        else:
            request.lift_restrictions(engines)
        if request.has_waiting and request.unanswered:
            self._queues.add(request)
            self._offer(request)

    def _give_back(self, request: BalancedRequest, tasks: TaskRange) -> None:
        """Let tasks that an engine has not begun wait again."""
        if request.end_reason:
            ename, _, evalue = request.end_reason.partition(": ")
            self._fail(request, tasks, ename, evalue)
        else:
            request.give_back(tasks)
            self._queues.add(request)

    def _remember_pace(self, request: BalancedRequest) -> None:
        key = (request.client.name, request.method)
        assert request.pace is not None
        self._paces[key] = request.pace
        self._paces.move_to_end(key)
        if len(self._paces) > MAX_PACES:
            self._paces.popitem(last=False)

    # -- replies ----------------------------------------------------------------------------------

    def _reply(
        self,
        request: BalancedRequest,
        reply: messages.Reply,
        inline: Sequence[Frame] = (),
        bulk: Sequence[Frame] = (),
    ) -> None:
        request.ended(reply.index, reply.count)
        self._replies.send(request, reply, inline, bulk)
        if request.complete:
            self._close(request)
        self.dependencies.note(request.id, reply.index, reply.count, reply.engine, reply.status == "ok")

    def _close(self, request: BalancedRequest) -> None:
        """Forget a request whose tasks have all ended."""
        self._requests.pop(request.id, None)
        self._queues.discard(request)
        self.dependencies.withdraw(request)
        for engine in request.function_holders:
            if engine in self._registry.alive:
                self._scheduler.transport.send_control(engine, messages.DropResults([request.id]))

    def _fail(
        self,
        request: BalancedRequest,
        tasks: TaskRange,
        ename: str,
        evalue: str,
        engine: int = -1,
        traceback: str = "",
    ) -> None:
        """End tasks for which no engine will reply."""
        now = time.time()
        status = "aborted" if ename == "TaskAborted" else "error"
        hint = self._registry.hint_for(ename, engine)
        failure = messages.Failure(ename, evalue, traceback, request.header.op, hint)
        first, stop = tasks
        reply = messages.Reply(
            request.id, engine, status, [], now, now, "", "", failure, index=first, count=stop - first
        )
        self._reply(request, reply)

    def _end_waiting(self, request: BalancedRequest, ename: str, evalue: str) -> None:
        """End the waiting tasks of a request, and later the tasks that engines return."""
        request.end_reason = request.end_reason or f"{ename}: {evalue}"
        self._queues.discard(request)
        self.dependencies.withdraw(request)
        for tasks in request.take_all():
            self._fail(request, tasks, ename, evalue)

    # -- aborts and deaths ------------------------------------------------------------------------

    def abort(self, wanted: Iterable[str] | None) -> int:
        """Abort the tasks that have not begun, of these requests or of all; return their number."""
        ids = list(self._requests) if wanted is None else wanted
        aborted = 0
        for request in [self._requests[id] for id in ids if id in self._requests]:
            before = request.unanswered
            self._end_waiting(request, "TaskAborted", "aborted before it began")
            aborted += before - request.unanswered
            for engine in self._scheduler.engines.values():
                sent = [task.id for task in engine.sent.values() if task.request_id == request.id]
                if sent:
                    self._scheduler.transport.send_control(engine.id, messages.AbortTasks(sent))
        return aborted

    def batch_lost(self, batch: TaskBatch, engine: int, begun: bool) -> None:
        """Take back the tasks of a dead engine; `begun` if the engine ran one of them."""
        self._tasks_lost(batch.balanced_request, batch.tasks, engine, begun)

    def _tasks_lost(self, request: BalancedRequest, tasks: TaskRange, engine: int, begun: bool) -> None:
        if not begun or request.end_reason:
            self._give_back(request, tasks)
            return
        why = self._registry.lost.get(engine, f"engine {engine} is gone")
        for first in range(tasks.first, tasks.stop, request.unit):
            one = TaskRange(first, min(first + request.unit, tasks.stop))
            if not request.retry(one, engine, counts=True):
                self._fail(request, one, "EngineError", why, engine=engine)
        if request.has_waiting and request.unanswered:
            self._queues.add(request)

    def engine_lost(self, engine: int) -> None:
        """Note the death of an engine, after its tasks were taken back."""
        self._last_batch.pop(engine, None)
        for request in list(self._requests.values()):
            request.function_holders.discard(engine)
            if why := self._why_impossible(request):
                self._end_waiting(request, "EngineError", why)
                continue
            request.lift_restrictions([id for id in self._registry.alive if request.may_run_on(id)])
            if request.has_waiting and not self.dependencies.is_blocked(request):
                self._queues.add(request)
        for id in list(self._registry.alive):
            self._scheduler.next(id)

    def retire(self, why: str) -> None:
        """End all requests: all engines are to end."""
        for request in list(self._requests.values()):
            self._end_waiting(request, "EngineError", why)
