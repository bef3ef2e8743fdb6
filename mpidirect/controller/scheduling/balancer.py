"""Which free engine gets which task: a queue for each client, whose turns come one after the other.

A task goes to an engine when that is free. Short ones go ahead of time, and many together, so that engines
need not wait for the way there and back: as many as are done in a moment. How long a task takes is seen by
those that have ended. What an engine has not begun when it dies, or when others would wait for it too long,
comes back and goes to another one.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from ...protocol import messages
from ..sessions.downloads import DROPPED, NO_ROOM
from ..sessions.session import TOO_LARGE, Session
from .balanced_work import SLICE, BalancedRequest, TaskBatch
from .scheduler import LATER, ActiveRequest, EngineQueue
from .task_outcomes import RequestOutcomes

if TYPE_CHECKING:
    from ..controller import Controller

log = logging.getLogger(__name__)

PREFETCH = 2 * SLICE  # seconds of tasks that an engine may have ahead
FEW = 8  # works of a client that are looked through for an engine
PACES = 1024  # functions whose pace is remembered

Group = frozenset[int]  # engines that tasks may run on; empty: any


class _Queue:
    """A client's works that wait for engines, by the engines that they may have."""

    def __init__(self) -> None:
        self.groups: dict[Group, OrderedDict[str, BalancedRequest]] = {}

    def add(self, work: BalancedRequest) -> None:
        self.groups.setdefault(work.allowed, OrderedDict())[work.id] = work

    def discard(self, work: BalancedRequest) -> None:
        group = self.groups.get(work.allowed)
        if group is not None:
            group.pop(work.id, None)
            if not group:
                del self.groups[work.allowed]

    def first(self, engine: int) -> Iterable[BalancedRequest]:
        """Of each group with this engine, the first few works: the others wait behind them."""
        for group, works in list(self.groups.items()):
            if not group or engine in group:
                yield from list(islice(works.values(), FEW))


class Balancer:
    """The tasks that run wherever an engine is free.

    Parameters
    ----------
    controller : Controller
        Whose engines they are.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.works: dict[str, BalancedRequest] = {}
        self.outcomes = RequestOutcomes()
        self._queues: dict[Session, _Queue] = {}
        self._turns: deque[Session] = deque()
        self._blocked: dict[str, set[BalancedRequest]] = {}  # by the request that they wait for
        self._deadlines: set[BalancedRequest] = set()
        self._paces: OrderedDict[tuple[bytes, str], float] = OrderedDict()
        self._serial = 0
        self._used: dict[int, int] = {}  # when an engine had its latest tasks

    # -- what comes -------------------------------------------------------------------------------------

    def submit(self, work: BalancedRequest) -> None:
        """A client's tasks have come, with all their data."""
        if work.pace is None:
            work.pace = self._paces.get((work.client.name, work.method))
        self.works[work.id] = work
        needs = [need for need in (work.after, work.follow) if need is not None]
        unknown = [id for need in needs for id in self.outcomes.unknown(need)]
        self.outcomes.begin(work.id, work.total)
        if unknown:
            self._refuse(work, "InvalidDependency", f"this cluster knows no task {unknown[0]!r} (any more)")
        elif needs:
            self._consider(work, waits=True)
        else:
            self._begin(work)

    def _begin(self, work: BalancedRequest) -> None:
        """Nothing keeps these tasks from beginning."""
        if why := self._hopeless(work):
            self._refuse(work, "EngineError", why)
            return
        self._enqueue(work)
        self._poke(work)

    def _enqueue(self, work: BalancedRequest) -> None:
        queue = self._queues.get(work.client)
        if queue is None:
            queue = self._queues[work.client] = _Queue()
            self._turns.append(work.client)
        queue.add(work)

    def _dequeue(self, work: BalancedRequest) -> None:
        queue = self._queues.get(work.client)
        if queue is not None:
            queue.discard(work)
            if not queue.groups:
                del self._queues[work.client]
                self._turns.remove(work.client)

    def _poke(self, work: BalancedRequest) -> None:
        """Let engines that may have some of it look, the freest first."""
        engines = self.controller.scheduler.engines
        if work.allowed:
            chosen = [engine for id in work.allowed if (engine := engines.get(id)) is not None]
        else:
            chosen = list(engines.values())
        if len(chosen) > 1:
            # of those that are free the latest: what it needs is still in the processor's caches
            chosen.sort(key=lambda e: (len(e.sent), -self._used.get(e.id, 0)))
        for engine in chosen:
            if not work.waits or work.ended:
                return
            self.controller.scheduler.next(engine.id)

    def _hopeless(self, work: BalancedRequest) -> str:
        """Why no engine will ever run it, if that is so."""
        controller = self.controller
        if any(work.may_run_on(engine) for engine in controller.engines):
            return ""
        for engine in sorted(work.allowed or controller.lost):
            if engine in controller.lost:
                return f"no engine is left for it: {controller.lost[engine]}"
        return f"there is no engine {sorted(work.allowed)}" if work.allowed else "there is no engine"

    # -- what the scheduler asks for ----------------------------------------------------------------------

    def take(self, engine: EngineQueue) -> Any:
        """The next tasks for an engine, if it should have some now; `LATER` if it has to be idle."""
        if not self._turns:
            return None
        sent = engine.sent
        if not self.controller.scheduler.admits(_Place(engine.id)):
            return None
        ahead = 0.0
        for job in sent.values():
            if not isinstance(job, TaskBatch) or not job.seconds:
                if not engine.queue or any(isinstance(other, TaskBatch) for other in sent.values()):
                    return None
                break
            ahead += job.seconds
        if ahead > PREFETCH:
            return None
        for client in list(self._turns):
            self._turns.rotate(-1)
            for work in self._queues[client].first(engine.id):
                if sent and (work.bulk or (work.pace or 1.0) > PREFETCH) and not engine.queue:
                    continue
                if sent and work.bulk:
                    return LATER  # what is in the queue must not keep it busy for ever
                batch = work.take(engine.id, len(self.controller.engines))
                if not work.waits:
                    self._dequeue(work)
                if batch is not None:
                    self._serial += 1
                    self._used[engine.id] = self._serial
                    return batch
        return None

    @property
    def waiting(self) -> int:
        """How many tasks wait for an engine, or for others."""
        return sum(work.waiting for work in self.works.values())

    # -- what becomes of tasks ----------------------------------------------------------------------------

    def ended(
        self, engine: int, batch: TaskBatch, message: messages.BatchDone, frames: Sequence[Any]
    ) -> None:
        """An engine has ended tasks, and gives back those that it has not begun."""
        work, at = batch.work, 0
        done = batch.first
        for end in message.ends:
            if end.first != done or end.count < 1 or end.first + end.count > batch.stop:
                log.warning("engine %d answered tasks of %s that it was not asked", engine, batch.id)
                break
            small = sum(size < messages.BULK for size in end.frames)
            inline, at = frames[at : at + small], at + small
            done += end.count
            bulk = [size for size in end.frames if size >= messages.BULK]
            if bulk:
                work.alone = True
                then = partial(self._arrived, work, engine, end, inline)
                self.controller.downloads.receive(engine, work.client, bulk, then)
            else:
                self._end(work, engine, end, inline)
        if not message.ends:
            work.having.discard(engine)  # perhaps it lacks the function
        elif done > batch.first:
            work.took(message.ends[-1].completed - message.ends[0].started, done - batch.first)
            self._remember(work)
        if done < batch.stop:
            self._give_back(work, done, batch.stop)
        if work.waits and work.open and not work.ended:
            self._poke(work)

    def _remember(self, work: BalancedRequest) -> None:
        key = (work.client.name, work.method)
        assert work.pace is not None
        self._paces[key] = work.pace
        self._paces.move_to_end(key)
        if len(self._paces) > PACES:
            self._paces.popitem(last=False)

    def _give_back(self, work: BalancedRequest, first: int, stop: int) -> None:
        """These have not begun there."""
        if work.ended:
            self._fail_all(work, [(first, stop)], *_reason(work.ended))
        else:
            work.give_back(first, stop)
            self._enqueue(work)

    def _end(
        self,
        work: BalancedRequest,
        engine: int,
        end: messages.ItemsDone,
        inline: Sequence[Any],
        bulk: Any = (),
    ) -> None:
        """Tasks have ended: they begin again, or their client is told."""
        failure = end.failure
        if failure is not None and not work.ended and failure.ename != "KeyboardInterrupt":
            unmet = failure.ename == "UnmetDependency"
            if work.again(end.first, end.first + end.count, engine, counts=not unmet):
                self._look_elsewhere(work, unmet, failure)
                return
        reply = messages.Reply(
            work.id,
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
        self._answer(work, reply, inline, bulk)

    def _look_elsewhere(self, work: BalancedRequest, unmet: bool, failure: messages.Failure) -> None:
        engines = [engine for engine in self.controller.engines if work.may_run_on(engine)]
        for first, stop in work.impossible(engines, living=not unmet):
            text = f"no engine meets what the task needs; the last one said: {failure.evalue}"
            self._fail(work, first, stop - first, "ImpossibleDependency", text, traceback=failure.traceback)
        if work.waits and work.open:
            self._enqueue(work)
            self._poke(work)

    def _arrived(
        self, work: BalancedRequest, engine: int, end: messages.ItemsDone, inline: Sequence[Any], pieces: Any
    ) -> None:
        """The bulk of a result is there, or will not come."""
        if pieces is NO_ROOM:
            text = f"the controller has no room for a result of {sum(end.frames):,} bytes (ulimit -v)"
            self._fail(work, end.first, end.count, "MemoryError", text, engine=engine)
        elif pieces is None:
            self._lost(work, end.first, end.first + end.count, engine, begun=True)
        elif pieces is DROPPED:
            self._fail(work, end.first, end.count, "ResultExpired", TOO_LARGE, engine=engine)
        else:
            self._end(work, engine, end, inline, pieces)

    def _answer(
        self,
        work: BalancedRequest,
        reply: messages.Reply,
        inline: Sequence[Any] = (),
        bulk: Sequence[Any] = (),
    ) -> None:
        work.done(reply.index, reply.count)
        self.outcomes.note(work.id, reply.index, reply.count, reply.engine, reply.status == "ok")
        self.controller.reply(work, reply, inline, bulk)  # type: ignore[arg-type]
        if not work.open:
            self._close(work)
        self.news(work.id)

    def _close(self, work: BalancedRequest) -> None:
        """All of it has ended."""
        self.works.pop(work.id, None)
        self._dequeue(work)
        self._deadlines.discard(work)
        for engine in work.having:
            if engine in self.controller.engines:
                self.controller.send_control(engine, messages.DropResults([work.id]))

    def _fail(
        self,
        work: BalancedRequest,
        first: int,
        count: int,
        ename: str,
        evalue: str,
        status: str = "error",
        engine: int = -1,
        traceback: str = "",
    ) -> None:
        """End tasks that no engine will answer."""
        now = time.time()
        failure = messages.Failure(ename, evalue, traceback, work.payload.request.op)
        reply = messages.Reply(
            work.id, engine, status, [], now, now, "", "", failure, index=first, count=count
        )
        self._answer(work, reply)

    def _fail_all(
        self, work: BalancedRequest, those: Iterable[tuple[int, int]], ename: str, evalue: str
    ) -> None:
        status = "aborted" if ename == "TaskAborted" else "error"
        for first, stop in those:
            self._fail(work, first, stop - first, ename, evalue, status)

    def _refuse(self, work: BalancedRequest, ename: str, evalue: str) -> None:
        """Nothing more of it begins."""
        work.ended = work.ended or f"{ename}: {evalue}"
        self._dequeue(work)
        self._unblock(work)
        self._fail_all(work, work.rest(), ename, evalue)

    def refuse(self, work: BalancedRequest, ename: str, evalue: str) -> None:
        """Its data will not come: none of it can begin."""
        self.works[work.id] = work
        self.outcomes.begin(work.id, work.total)
        self._refuse(work, ename, evalue)

    # -- aborts ---------------------------------------------------------------------------------------------

    def abort(self, wanted: Iterable[str] | None) -> int:
        """Keep tasks of these requests, or of all, from beginning; returns how many there were."""
        ids = list(self.works) if wanted is None else wanted
        aborted = 0
        for work in [self.works[id] for id in ids if id in self.works]:
            before = work.open
            self._refuse(work, "TaskAborted", "aborted before it began")
            aborted += before - work.open
            for engine in self.controller.scheduler.engines.values():
                there = [job.id for job in engine.sent.values() if job.request == work.id]
                if there:
                    self.controller.send_control(engine.id, messages.AbortTasks(there))
        return aborted

    # -- deaths ---------------------------------------------------------------------------------------------

    def lost(self, batch: TaskBatch, engine: int, begun: bool) -> None:
        """The engine that had these tasks is gone."""
        self._lost(batch.work, batch.first, batch.stop, engine, begun)

    def _lost(self, work: BalancedRequest, first: int, stop: int, engine: int, begun: bool) -> None:
        why = self.controller.lost.get(engine, f"engine {engine} is gone")
        if not begun or work.ended:
            self._give_back(work, first, stop)
            return
        unit = work.chunk or 1
        for start in range(first, stop, unit):
            end = min(start + unit, stop)
            if not work.again(start, end, engine, counts=True):
                self._fail(work, start, end - start, "EngineError", why, engine=engine)
        if work.waits and work.open:
            self._enqueue(work)

    def engine_lost(self, engine: int) -> None:
        """After its tasks have come back: some may have no engine any more."""
        self._used.pop(engine, None)
        for work in list(self.works.values()):
            work.having.discard(engine)
            if why := self._hopeless(work):
                self._refuse(work, "EngineError", why)
                continue
            engines = [id for id in self.controller.engines if work.may_run_on(id)]
            work.impossible(engines, living=True)
            if work.waits and not self._is_blocked(work):
                self._enqueue(work)
        for id in list(self.controller.engines):
            self.controller.scheduler.next(id)

    def retire(self, why: str) -> None:
        """All engines are to end: so are all tasks."""
        for work in list(self.works.values()):
            self._refuse(work, "EngineError", why)

    # -- tasks that need others -----------------------------------------------------------------------------

    def direct_ended(self, job: ActiveRequest, reply: messages.Reply) -> None:
        """A part of a call on chosen engines has ended: tasks may wait for that as well."""
        self.outcomes.note(job.id, reply.engine, 1, reply.engine, reply.status == "ok")
        if self._blocked:
            self.news(job.id)

    def news(self, request: str) -> None:
        """Tasks of this request have ended: perhaps others may begin, or never will."""
        for work in list(self._blocked.get(request, ())):
            self._consider(work)

    def _consider(self, work: BalancedRequest, waits: bool = False) -> None:
        after, follow, outcomes = work.after, work.follow, self.outcomes
        needs = [need for need in (after, follow) if need is not None]
        if any(outcomes.unreachable(need) for need in needs):
            text = "what the task needs to have ended well has failed, or the reverse"
            self._refuse(work, "ImpossibleDependency", text)
        elif all(outcomes.met(need) for need in needs):
            self._unblock(work)
            if follow is not None:
                places = outcomes.engines(follow)
                chosen = places & work.allowed if work.allowed else places
                if not chosen:
                    text = f"no engine has run all that the task is to follow (they ran on {sorted(places)})"
                    if not places:
                        text = "no one engine has run all that the task is to follow"
                    self._refuse(work, "ImpossibleDependency", text)
                    return
                work.allowed = chosen
            self._begin(work)
        elif waits:
            for request in outcomes.requests(after, follow):
                self._blocked.setdefault(request, set()).add(work)
            if work.deadline is not None:
                self._deadlines.add(work)

    def _is_blocked(self, work: BalancedRequest) -> bool:
        return any(work in self._blocked.get(r, ()) for r in self.outcomes.requests(work.after, work.follow))

    def _unblock(self, work: BalancedRequest) -> None:
        if work.after is None and work.follow is None:
            return
        for request in self.outcomes.requests(work.after, work.follow):
            those = self._blocked.get(request)
            if those is not None:
                those.discard(work)
                if not those:
                    del self._blocked[request]
        self._deadlines.discard(work)

    def look(self) -> None:
        """Give up tasks that have waited for others too long."""
        if self._deadlines:
            now = time.monotonic()
            for work in [
                work for work in self._deadlines if work.deadline is not None and now > work.deadline
            ]:
                self._refuse(work, "TaskTimeout", "what the task needs had not ended in time (timeout)")

    def patience(self) -> int:
        """Milliseconds until something is due."""
        if not self._deadlines:
            return 1000
        left = min(work.deadline for work in self._deadlines if work.deadline is not None) - time.monotonic()
        return max(1, min(1000, int(left * 1000) + 1))


class _Place(ActiveRequest):
    """A task that may come to one engine, to ask whether it may begin."""

    __slots__ = ()

    def __init__(self, engine: int) -> None:
        self.begun = False
        self.targets = [engine]


def _reason(text: str) -> tuple[str, str]:
    ename, _, evalue = text.partition(": ")
    return ename, evalue
