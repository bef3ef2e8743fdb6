"""The controller's loop: it never blocks, never unpickles, never runs user code."""

from __future__ import annotations

import logging
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..arrays import lazy_numpy
from ..job.parent import Parent
from ..memory import process_memory
from ..protocol import messages
from ..protocol.names import is_anchor
from ..transport.base import Empty, Listener
from ..transport.curve import ZapAuthenticator
from .clients.clients import Clients
from .clients.pending_queries import PendingQueries
from .engines import exit_status
from .engines.generations import Generations
from .engines.links import EngineLink
from .engines.recovery import CommunicatorRecovery
from .engines.replacement import Replacement
from .scheduling.balanced_work import TaskBatch
from .scheduling.balancer import Balancer
from .scheduling.scheduler import ActiveRequest, Scheduler
from .sessions.downloads import DROPPED, NO_ROOM, Downloads
from .sessions.retained_results import RetainedResults
from .sessions.retention import Retention
from .sessions.session import TOO_LARGE, expired
from .sessions.uploads import Upload
from .succession import Succession

if TYPE_CHECKING:
    from .engines.mpi_transfer import MPITransfer
    from .sessions.session import Session

log = logging.getLogger(__name__)

AT_ONCE = 200  # messages taken from one socket before the others have their turn
GRACE = 3.0  # seconds that engines have to leave
IDLE = 1000  # milliseconds that the loop sleeps at most
TICK = 0.05  # seconds between looks at what is kept for whom, and whether the job's parent lives


class Controller:
    """Routes tasks from clients to engines, and their results back.

    Parameters
    ----------
    clients : list of Listener
        Where clients connect.
    engines : EngineLink
        The connections of the engines.
    transfer : Bridge
        The way of bulk data.
    authenticator : ZapAuthenticator
        Decides about the keys of clients, and of engines where they have keys.
    facts : dict
        What is told to each client about the cluster; ``cluster`` is its id.
    size : int
        The number of engines.
    budget : int
        Bytes of results that are kept for clients that are away.
    """

    def __init__(
        self,
        clients: Sequence[Listener],
        engines: EngineLink,
        transfer: MPITransfer,
        authenticator: ZapAuthenticator,
        facts: dict[str, Any],
        size: int,
        budget: int = 1 << 30,
    ) -> None:
        self.link = engines
        self.transfer = transfer
        self.facts = facts
        self.logs = Path(facts["logs"])
        self.size = size
        self.clients = Clients(self)
        self.retained = RetainedResults(self._forget)
        self.retention = Retention(budget, self.retained)
        self.downloads = Downloads(transfer, self.retention)
        self.scheduler = Scheduler(self)
        self.engines: dict[int, messages.EngineInfo] = {}
        self.lost: dict[int, str] = {}
        self._ends: dict[int, tuple[int, int]] = {}  # of the output that engines have told with their replies
        self.stopping: float | None = None
        self._ticked = 0.0
        self._joined = False  # whether engines have come that clients have not been told of
        self._place = process_memory.domain()
        self._places: dict[int, str] = {}
        self._placed: dict[int, messages.EnginePlaced] = {}
        self._nodes = {process_memory.node(): 0}  # this node, and those of the other engines
        self._parent = Parent()
        self.succession = Succession(self)
        self.orphaned = False  # whether the process that started this job is gone
        self.abandoned: Callable[[], bool] = lambda: False  # whether nobody wants the cluster any more
        self.recovery = CommunicatorRecovery(self)
        self.replacement = Replacement(self)
        self.generations = Generations(self)
        self.pending_queries = PendingQueries(self)
        self.balancer = Balancer(self)
        self.scheduler.admits = self._admits
        self.scheduler.balance = self.balancer
        self._listeners: dict[Listener, Callable[[], None]] = {}
        self._due: dict[Any, Callable[[], None]] = {}  # by descriptor
        sides: list[tuple[Sequence[Any], Any, Any]] = [
            (engines.listeners, self._from_engine, self._have_departed),
            (clients, self.clients.receive, self.clients.departed),
        ]
        for listeners, receive, departed in sides:
            for each in listeners:
                first, *ends = each.descriptors
                self._listeners[each] = self._due[first] = partial(self._look, each, receive, departed)
                self._due |= dict.fromkeys(ends, partial(departed, each))
        self._due[authenticator.socket.fileno()] = authenticator.answer

    # -- the loop -----------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            self._serve()
            while self.succession.due and not self.succession.hand_over():
                self._serve()
        finally:  # whatever ends it, the clients are told
            if not self.succession.done:
                self.clients.farewell("it has been stopped" if self.stopping else "its job has ended")

    def _serve(self) -> None:
        with select.epoll() as epoll:  # not ZeroMQ's poll, which asks each socket again and again
            for descriptor in self._due:
                epoll.register(descriptor, select.EPOLLIN)
            ready = list(self._due)  # what came before is not told of
            warm = False
            while not self._finished():
                self.turn(ready)
                patience = self._patience()
                ready = [descriptor for descriptor, _ in epoll.poll(patience / 1000)]
                if not (warm or ready) and patience >= IDLE:
                    warm = True  # in a thread, as this one never waits; none here imports parts of numpy
                    threading.Thread(target=lazy_numpy.warm, name="numpy", daemon=True).start()

    def turn(self, ready: Sequence[Any]) -> None:
        """One turn of the loop: take what has come, and do what is due."""
        clients = self.clients
        for descriptor in ready:
            self._due[descriptor]()
        for listener, look in self._listeners.items():
            if listener.waiting:
                look()
        clients.stage()
        if self.transfer.busy:
            while self.transfer.progress():
                pass
        self.downloads.look()
        self.recovery.look()
        self.generations.look()
        self.replacement.look()
        self.pending_queries.look()
        self.balancer.look()
        clients.flush()
        if self._joined and not self.succession.awaits_engines:
            self.tell_engines({})
        self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._ticked > TICK:
            self._ticked = now
            if self._parent.gone():
                log.error("the process that started this job is gone: leaving")
                self.orphaned = True
                self.stop()
                self.stopping = now
            elif self.stopping is None and self.abandoned():
                log.warning("the process that this cluster was to end with has ended: leaving")
                self.stop()
            self.clients.forget_the_gone()

    def _patience(self) -> int:
        """How long the loop may sleep, in milliseconds."""
        if self.transfer.lively or self.clients.staging or any(each.waiting for each in self._listeners):
            return 0
        if self.transfer.busy or self.clients.holds:
            return 1
        if self.recovery.busy or self.replacement.busy or self.generations.busy:
            return 2
        return 100 if self.stopping else min(IDLE, self.pending_queries.patience(), self.balancer.patience())

    def _finished(self) -> bool:
        if self.succession.due:
            return True
        return self.stopping is not None and (not self.engines or time.monotonic() > self.stopping)

    def _look(self, listener: Listener, receive: Callable[[Any, bytes], None], departed: Any) -> None:
        """Take in what has come at a listener, and notice who has gone."""
        for _ in range(AT_ONCE):
            try:
                name = listener.first()
            except Empty:
                break
            try:
                receive(listener, name)
            except Exception:  # one message must not end the cluster
                log.exception("a message of %r could not be handled", name)
                listener.rest()
            if not listener.readable():
                break
        if listener.departures:
            departed(listener)

    # -- engines ---------------------------------------------------------------------------------

    def _from_engine(self, listener: Listener, name: bytes) -> None:
        message = messages.decode_from_engine(listener.first())
        if isinstance(message, messages.EngineHello):
            self._have_departed(listener)  # of them one may have had this number
            if self.link.joined(name, message.engine, listener, listener.number()):
                if is_anchor(message.engine):
                    self.generations.anchor_joined(message)
                elif self.succession.awaits_engines or not (
                    self.generations.spawns or message.engine in self.lost
                ):
                    self.engine_joined(message)
                else:
                    self.replacement.arrived(message)
            return
        engine = self.link.engine_of(name)
        if isinstance(message, messages.TaskDone):
            self._engine_done(engine, message, listener.rest())
        elif isinstance(message, messages.BatchDone):
            self._tasks_ended(engine, message, listener.rest())
        elif isinstance(message, messages.Output):
            self._engine_printed(engine, message)
        elif isinstance(message, messages.Moved):
            for reader in self.retained.moved(message.id, engine, message.addresses):
                reader.tell(messages.ResultMoved, message.id, engine, message.addresses)
        elif isinstance(message, messages.Resend):
            job = self.scheduler.job(engine, message.id)
            if job is not None:
                job.payload.again.add(engine)
                self.transfer.send(engine, job.payload.bulk_for_all())
        elif isinstance(message, messages.DataFetched):
            self._engine_fetched(engine, message.id)
        elif isinstance(message, messages.TasksAborted):
            for id in message.ids:
                job = self.scheduler.done(engine, id)
                if isinstance(job, TaskBatch):
                    self.balancer.ended(engine, job, messages.BatchDone(id, []), [])
                elif job is not None:
                    self.fail(job, engine, "TaskAborted", "aborted before it began", "aborted")
            self.scheduler.next(engine)
        elif isinstance(message, messages.CommunicatorRevoked):
            for other in self.engines:
                self.send_control(other, messages.ProgressMPI())
        elif isinstance(message, messages.CommunicatorsMade):
            self.recovery.repaired(engine, message)
            self.replacement.told(engine, message)
        elif isinstance(message, (messages.EnginesSpawned, messages.ReadyToJoin)):
            self.replacement.told(engine, message)
        elif isinstance(message, messages.EnginePlaced):
            self._placed[engine] = message
            if engine in self.engines:
                self._joined = self._place_engine(engine) or self._joined
        elif isinstance(message, messages.Inspection):
            self.pending_queries.located(engine, message)

    def _admits(self, job: ActiveRequest) -> bool:
        """Whether a task may begin now."""
        return self.recovery.admits(job) and self.replacement.admits(job)

    def _have_departed(self, listener: Listener) -> None:
        """Connections of engines have closed."""
        for engine in self.link.departed(listener):
            if engine in self.engines:
                self.recovery.departed(engine)
            else:
                if is_anchor(engine):
                    self.generations.anchor_lost(engine)
                self.generations.departed(engine)
                self.replacement.departed(engine)

    def engine_joined(self, joined: messages.EngineHello) -> None:
        """An engine is there, at the start or in the place of another."""
        node = self._nodes.setdefault(joined.node, len(self._nodes))
        self.engines[joined.engine] = messages.EngineInfo(joined.engine, joined.host, joined.pid, node)
        self._place_engine(joined.engine)
        self._places[joined.engine] = joined.place
        self._ends.pop(joined.engine, None)
        self.lost.pop(joined.engine, None)
        self.scheduler.add(joined.engine)
        if len(self.engines) == self.size:
            log.info("all %d engines are there", self.size)
        self._joined = True  # many come at once: clients are told once a turn
        if self.succession.awaits_engines and len(self.engines) == self.size:
            self.succession.complete()

    def _place_engine(self, engine: int) -> bool:
        """Note what an engine has told of its host; whether clients do not know it yet."""
        info, told = self.engines[engine], self._placed.get(engine)
        if told is None or (info.local_rank, info.device) == (told.local_rank, told.device):
            return False
        info.local_rank, info.device = told.local_rank, told.device
        return True

    def _engine_fetched(self, engine: int, task: str) -> None:
        """An engine has read a request's data; when all have, the client may change it."""
        job = self.scheduler.job(engine, task)
        if job is not None and engine in job.fetching:
            job.fetching.discard(engine)
            if not job.fetching:
                job.client.tell(messages.DataRead, task)

    def _engine_printed(self, engine: int, output: messages.Output) -> None:
        """Pass on what a task prints while it runs; when it has ended, its reply has told it."""
        job = self.scheduler.job(engine, output.id)
        if isinstance(job, TaskBatch):  # each of its tasks has its own output, with its reply
            return
        afterwards = all(piece.at == messages.AFTER_TASK for piece in output.pieces)
        for session in self._readers(output.id, job) if job or afterwards else ():
            session.pass_on(output.id, engine, output.pieces)

    def _readers(self, task: str, job: ActiveRequest | None) -> list[Session]:
        if job is not None:
            return [job.client, *job.followers]
        owner = self.clients.sessions.get(task.rpartition("-")[0].encode())
        return [] if owner is None else [owner]

    def _engine_done(self, engine: int, done: messages.TaskDone, inline: list[bytes]) -> None:
        job = self.scheduler.done(engine, done.id)
        if job is None:
            log.warning("engine %d answered %s, which it was not asked", engine, done.id)
            return
        self._ends[engine] = done.ends
        pass_on = partial(self._pass_on, job, engine, done, inline)
        if done.addresses:
            self.retained.add(done.id, engine, job.client, done.addresses, sum(done.frames))
            pass_on(())
        elif bulk := [size for size in done.frames if size >= messages.BULK]:
            self.downloads.receive(engine, job.client, bulk, pass_on)
        else:
            pass_on(())
        if done.left:
            self.recovery.left(done.left)
        self.scheduler.next(engine)

    def _tasks_ended(self, engine: int, ended: messages.BatchDone, inline: list[bytes]) -> None:
        job = self.scheduler.done(engine, ended.id)
        if not isinstance(job, TaskBatch):
            log.warning("engine %d answered %s, which it was not asked", engine, ended.id)
            return
        self.balancer.ended(engine, job, ended, inline)
        if ended.left:
            self.recovery.left(ended.left)
        self.scheduler.next(engine)

    def _pass_on(
        self, job: ActiveRequest, engine: int, done: messages.TaskDone, inline: Sequence[Any], pieces: Any
    ) -> None:
        """Send what an engine has answered to who has asked."""
        if pieces is NO_ROOM:
            why = f"the controller has no room for a result of {sum(done.frames):,} bytes (ulimit -v)"
            self.fail(job, engine, "MemoryError", why)
            return
        if pieces is None:  # it died while they were on their way
            self.fail(job, engine, "EngineError", self.lost[engine])
            return
        reply = messages.Reply(
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
            self.engines[engine].pid if done.addresses else 0,
            done.outputs,
        )
        if pieces is DROPPED:
            self.reply(job, expired(reply, TOO_LARGE))
        else:
            self.reply(job, reply, inline, pieces)

    def kill(self, engine: int) -> None:
        """End an engine: its control thread does it, if it can; on this host, so can we."""
        self.end(self.engines[engine])

    def end(self, engine: messages.EngineInfo) -> None:
        """The same for one that is not among the engines any more."""
        self.send_control(engine.id, messages.Signal(signal.SIGKILL))
        self.generations.end_process(engine)

    def retire(self, why: str) -> None:
        """All engines are to end: what they were to do ends with an error that says so."""
        retired, reasons = self.living(), {}
        self.engines.clear()
        self.balancer.retire(f"each engine {why}")
        for info in retired:
            reasons[info.id] = self.lost[info.id] = f"engine {info.id} {why}"
        log.info("%d engines are ended", len(retired))
        self.tell_engines(reasons)  # first: who gets an error may ask at once who lives
        for info in retired:
            self._give_up(info.id, died=False)
        self.recovery.reset()

    def _give_up(self, engine: int, died: bool = True) -> None:
        """End the tasks of an engine that is `lost`."""
        self.retained.engine_lost(engine)
        jobs = self.scheduler.remove(engine)
        self.transfer.forget(engine)
        self.downloads.forget(engine)
        printed = exit_status.printed(self.logs, engine, self._ends.pop(engine, (0, 0)))
        log = self.logs / f"engine-{engine}.log"
        traceback = exit_status.last_words(log, printed="".join(printed)) if died else ""
        for k, job in enumerate(jobs):  # an engine runs them in order: the first is the one that ran
            if isinstance(job, TaskBatch):
                self.balancer.lost(job, engine, begun=k == 0)
            else:
                self.fail(job, engine, "EngineError", self.lost[engine], "error", traceback, *printed)
            printed = "", ""
        self.balancer.engine_lost(engine)

    def engine_lost(self, engine: int, why: str) -> None:
        """An engine is gone: its tasks end with an error that says so."""
        info = self.engines.pop(engine, None)
        if info is None:
            return
        if self.stopping:
            self.scheduler.remove(engine)
            return
        self.generations.end_process(info)  # a frozen one has lost its connection, and MPI would wait for it
        for other in self.engines:
            self.send_control(other, messages.CollectiveBroken())
        reason = f"engine {engine} (process {info.pid} on {info.host}) died: {why}"
        log.error("%s", reason)
        self.lost[engine] = reason
        self.tell_engines({engine: reason})  # first: who gets the error may ask at once who lives
        self._give_up(engine)
        self.recovery.died(engine, reason)
        self.replacement.died(engine)

    def tell_engines(self, lost: dict[int, str]) -> None:
        """Tell the clients which engines live, and why one does not."""
        self._joined = False
        living = self.living()
        for session in self.clients.sessions.values():
            session.tell(messages.EnginesChanged, living, self.size, lost)

    def living(self) -> list[messages.EngineInfo]:
        """The engines that live, in order."""
        return [self.engines[k] for k in sorted(self.engines)]

    def fail(
        self,
        job: ActiveRequest,
        engine: int,
        ename: str,
        evalue: str,
        status: str = "error",
        traceback: str = "",
        stdout: str = "",
        stderr: str = "",
    ) -> None:
        """End a task that its engine will not answer."""
        job.open.discard(engine)
        now = time.time()
        failure = messages.Failure(ename, evalue, traceback, job.method)
        reply = messages.Reply(job.id, engine, status, [], now, now, stdout, stderr, failure)
        self.reply(job, reply)

    def reply(
        self, job: ActiveRequest, reply: messages.Reply, inline: Sequence[Any] = (), bulk: Sequence[Any] = ()
    ) -> None:
        """Send a reply to the client that asked, and to others that have asked for it since."""
        job.client.reply(reply, inline, bulk, not job.open)
        if not job.balanced:
            self.balancer.direct_ended(job, reply)
        for other in job.followers:
            other.reply(self.retained.shown_to(other, reply), inline, bulk, not job.open)

    def stop(self) -> None:
        """Tell the engines to leave; the loop ends when they have, or in a few seconds."""
        if self.stopping is None:
            self.stopping = time.monotonic() + GRACE
            for engine in self.engines:
                self.send_control(engine, messages.Stop())
                self.link.send_task(engine, [messages.encode(messages.Stop())])
            self.generations.stop_anchors()

    # -- what the scheduler asks for -----------------------------------------------------------

    def send_task(self, engine: int, job: ActiveRequest) -> None:
        """Send a task: header and small frames by the task connection, bulk frames by MPI."""
        payload: Upload | TaskBatch = job if isinstance(job, TaskBatch) else job.payload
        self.link.send_task(engine, payload.inline_for(engine))
        if job.bulk and not payload.direct:
            pieces = payload.bulk_for(engine)
            if pieces:
                self.transfer.send(engine, pieces)

    def send_control(self, engine: int, message: messages.Message) -> None:
        """Send a message to the engine's control thread."""
        self.link.send_control(engine, messages.encode(message))

    def _forget(self, task: str, engine: int) -> None:
        """An engine need not hold this result, or this shared memory, any longer."""
        if engine in self.engines:
            self.send_control(engine, messages.DropResults([task]))

    def near(self, targets: Sequence[int]) -> bool:
        """Whether all of these engines share memory with this process, and so with its clients."""
        return bool(self._place) and all(self._places.get(t) == self._place for t in targets)
