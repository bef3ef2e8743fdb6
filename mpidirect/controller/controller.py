"""The controller and its parts. It never blocks, never unpickles, and never runs user code."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..job.handover import QUEUED
from ..job.parent import Parent
from ..protocol import messages
from ..transport.base import Listener
from ..transport.curve import ZapAuthenticator
from .clients.clients import Clients
from .clients.debuggers import Debuggers
from .clients.pending_queries import PendingQueries
from .clients.planner import DeliveryPlanner
from .clients.queries import Queries
from .clients.requests import Requests
from .engine_messages import EngineConnections, EngineMessages
from .engine_registry import EngineRegistry
from .engines.shutdown import Shutdown
from .engines.stack_dumps import StackDumps
from .engines.task_sender import TaskSender
from .event_loop import MAX_SLEEP, EventLoop
from .handover import Succession
from .idle_stop import IdleStop
from .idleness import Idleness
from .lifecycle import BulkTransport, EngineLifecycle
from .namespaces import Namespaces
from .own_tasks import OwnTasks
from .resumption import Resumption, Step
from .scheduling.balancer import Balancer
from .scheduling.scheduler import Scheduler
from .scheduling.task_results import TaskResults
from .sessions.downloads import Downloads
from .sessions.replies import Replies
from .sessions.retained_results import RetainedResults
from .sessions.retention import Retention
from .sessions.sessions import Sessions

log = logging.getLogger(__name__)

SHUTDOWN_GRACE = 3.0  # seconds that engines have to leave
TICK = 0.05  # seconds between two checks of limits and of the job's parent

# seconds between two checks of the engines if none joins or leaves, so that a call costs less
LOOK_INTERVAL = 0.005

# Maximum milliseconds of one sleep of the loop.
LOOK_SLEEP = 5  # after a turn that did not check the engines
BUSY_SLEEP = 1  # while data is under way, or replies wait for other replies
CHANGE_SLEEP = 2  # while engines join or leave
SHUTDOWN_SLEEP = 100


class Controller:
    """Routes tasks from clients to engines, and results back.

    Parameters
    ----------
    clients : list of Listener
        The listeners for clients.
    engines : EngineConnections
        The connections of the engines.
    transfer : BulkTransport
        The connection to the engines for bulk data.
    authenticator : ZapAuthenticator
        Checks the keys of clients, and of engines where they have keys.
    facts : dict
        The facts about the cluster for clients.
    size : int
        The number of engines.
    budget : int
        Bytes of results that are kept for clients that are away.
    supervised : bool
        Whether a supervisor can start a successor of this controller.
    idle_timeout : float
        Seconds after which an idle cluster is stopped; 0 for no limit.
    idle_save : str
        The directory in which the namespaces of an idle cluster are saved before its stop; empty for none.

    Attributes
    ----------
    orphaned : bool
        Whether the process that started this job is gone.
    end_reason : str
        Why the controller stops the cluster by itself, for clients and ``mpidirect status``; else empty.
    abandoned : callable
        Tells whether the cluster must end because the process that owns it has ended.
    write_handover : callable
        Writes the handover file for the successor in this job.
    write_for_next_job : callable
        Writes the handover file for the controller of the next job.
    resumption : Resumption
        Continues the cluster in another job.
    succession : Succession
        Hands clients over to the successor, and takes the clients of a former controller.
    """

    def __init__(
        self,
        clients: Sequence[Listener],
        engines: EngineConnections,
        transfer: BulkTransport,
        authenticator: ZapAuthenticator,
        facts: dict[str, Any],
        size: int,
        budget: int = 1 << 30,
        supervised: bool = False,
        idle_timeout: float = 0.0,
        idle_save: str = "",
    ) -> None:
        self.orphaned = False
        self.end_reason = ""
        self.abandoned: Callable[[], bool] = lambda: False
        self.write_handover: Callable[[], None] = lambda: None
        self.write_for_next_job: Callable[[], None] = lambda: None
        self._link = engines
        self._transfer = transfer
        self._shutdown = Shutdown()
        self._parent = Parent()
        self._last_tick = 0.0
        self._next_look = 0.0  # when the loop next checks the engines that join or leave
        self._has_looked = True  # whether the present turn has checked them
        self._registry = EngineRegistry(size, facts["world"])
        self.sessions = Sessions()
        self._retained = RetainedResults(self._release_on_engine)
        self._retention = Retention(budget, self._retained)
        self._downloads = Downloads(transfer, self._retention)
        self._compose_scheduling()
        self._compose_engines(facts, supervised)
        self._idleness = Idleness(self.sessions, self.scheduler, self._registry, idle_timeout)
        self._compose_clients(facts, budget)
        self._compose_ends(idle_save)
        self._loop = EventLoop()
        for listener in engines.listeners:
            self._loop.add_listener(listener, self._engine_messages)
        for listener in clients:
            self._loop.add_listener(listener, self.clients)
        self._loop.add_descriptor(authenticator.socket.fileno(), authenticator.answer)

    def _compose_scheduling(self) -> None:
        replies = Replies(self._retained)
        self.scheduler = Scheduler(TaskSender(self._link, self._transfer))
        self._balancer = Balancer(self.scheduler, self._registry, self._downloads, replies)
        self.results = TaskResults(
            self.scheduler,
            self._balancer,
            self._registry,
            self.sessions,
            self._downloads,
            self._retained,
            replies,
        )

    def _compose_engines(self, facts: dict[str, Any], supervised: bool) -> None:
        self._lifecycle = EngineLifecycle(
            facts,
            self._registry,
            self._link,
            self._transfer,
            self.scheduler,
            self._balancer,
            self.results,
            self._downloads,
            self.sessions,
            self._shutdown,
            supervised,
        )
        self._pending_queries = PendingQueries(
            self.scheduler,
            self._registry,
            self._link,
            self._lifecycle.repair,
            StackDumps(
                Path(facts["logs"]), self._registry, self._lifecycle.anchors, self._link, self.scheduler.idle
            ),
            facts["fault_tolerance"]["revokes"],
        )
        self._debuggers = Debuggers(self.scheduler, self._registry, self._link)
        self._engine_messages = EngineMessages(
            self._link,
            self._registry,
            self.scheduler,
            self.results,
            self._lifecycle,
            self._pending_queries,
            self._debuggers,
        )

    def _compose_clients(self, facts: dict[str, Any], budget: int) -> None:
        planner = DeliveryPlanner(self.scheduler, self._registry, self._transfer)
        self._requests = Requests(
            self.scheduler, self._balancer, self._registry, planner, budget, self.results.fail
        )
        queries = Queries(
            self._registry,
            self.scheduler,
            self._balancer,
            self._requests,
            self._link,
            self._lifecycle.generations,
            self._pending_queries,
            self._debuggers,
            self.sessions,
            self._retained,
            self.results.abort,
            self._lifecycle.kill,
            self.stop,
        )
        self.clients = Clients(
            facts,
            self.sessions,
            self._requests,
            queries,
            self._registry,
            self._retention,
            self._retained,
            self._idleness,
            self._debuggers,
        )

    def _compose_ends(self, idle_save: str) -> None:
        """Make the parts that end the cluster, or continue it elsewhere."""
        self.succession = Succession(
            self.sessions,
            self._requests,
            self._balancer,
            self._pending_queries,
            self._registry,
            self._lifecycle,
        )
        namespaces = Namespaces(
            self.sessions, self.scheduler, self._registry, self._lifecycle, OwnTasks(self._requests)
        )
        self._idle_stop = IdleStop(self._idleness, namespaces, idle_save)
        self.resumption = Resumption(
            self.sessions,
            self.scheduler,
            self._balancer,
            self._registry,
            self._lifecycle,
            namespaces,
            self.results.fail,
        )

    def _release_on_engine(self, task: str, engine: int) -> None:
        """Tell an engine to release a result, or shared memory."""
        if engine in self._registry.alive:
            self._link.send_control(engine, messages.DropResults([task]))

    @property
    def untouched(self) -> bool:
        """Return whether the engines' communicator has never been broken or replaced."""
        return self._lifecycle.repair.untouched

    @property
    def hands_over_after_death(self) -> bool:
        """Return whether the death of an engine ends this controller, which then hands over."""
        return self._lifecycle.generations.follows_deaths and not self._shutdown.begun

    @property
    def handing_over(self) -> bool:
        """Return whether this controller hands over, or may do so when the cause of a death is known."""
        return self.succession.due or self._lifecycle.busy

    def start_anchors_by(self, start: Callable[[], None]) -> None:
        """Use this function to start an anchor in the place of one that died."""
        self._lifecycle.anchors.start = start

    # -- the loop ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            self._loop.run(self.turn, self._max_sleep, self._finished)
            while self.succession.due and not self.succession.complete:
                self._hand_over()
                if not self.succession.complete:
                    self._loop.run(self.turn, self._max_sleep, self._finished)
        finally:  # clients are told in any case
            if not self.succession.complete:
                self.clients.farewell(self._farewell)

    @property
    def _farewell(self) -> str:
        """Return why the controller leaves, for clients."""
        if self.resumption.step is Step.CANCELLED:
            return "its job was cancelled"
        stopped = self.end_reason or "it has been stopped"
        return stopped if self._shutdown.begun else self._lifecycle.fatal_death or "its job has ended"

    def _hand_over(self) -> None:
        """Hand over to a successor in this job, or in the next one."""
        if self.resumption.step is Step.ENDING:
            self.succession.hand_over(self.write_for_next_job, QUEUED, next_job=True)
        else:
            self.succession.hand_over(self.write_handover)

    def turn(self, ready: Sequence[Any]) -> None:
        """Take one turn of the loop: take the messages that have arrived, and do what is due."""
        self._loop.dispatch(ready)
        if self._requests.staging:
            self._requests.stage()
        if self._transfer.busy:
            while self._transfer.progress():
                pass
        self._downloads.look()
        now = time.monotonic()
        self._has_looked = now >= self._next_look
        if self._has_looked:
            self._look_at_engines(now)
        self._pending_queries.look()
        self._balancer.dependencies.look()
        self.clients.flush()
        if now - self._last_tick > TICK:
            self._last_tick = now
            self._tick()

    def _look_at_engines(self, now: float) -> None:
        """Do what is due for engines that join or leave, and tell the clients."""
        self._lifecycle.look()
        self._lifecycle.announce_changes()
        changing = self._lifecycle.busy or self._shutdown.begun
        self._next_look = now if changing else now + LOOK_INTERVAL

    def _tick(self) -> None:
        """Check whether the job must end, and enforce the limits of what is kept for clients."""
        ending = self._shutdown.begun or self.handing_over
        if not ending and self._parent.gone():
            log.error("the process that started this job is gone: leaving")
            self.orphaned = True
            self.stop()
        elif not self._shutdown.begun and self.abandoned():
            log.warning("the process that this cluster was to end with has ended: leaving")
            self.stop()
        elif not self._shutdown.begun:
            self._look_at_end()
        self.clients.enforce_limits()

    def _look_at_end(self) -> None:
        """Stop a cluster that is idle or whose job is cancelled, or prepare the next job."""
        if self.resumption.step in (Step.WAITING, Step.GIVEN_UP):
            self.end_reason = self._idle_stop.look()
        if not self._idle_stop.saving:
            self.resumption.look()
        if self.end_reason or self.resumption.step is Step.CANCELLED:
            log.info("leaving: %s", self.end_reason or "its job is cancelled")
            self.stop()

    def _max_sleep(self) -> int:
        """Return the maximum milliseconds of the next sleep."""
        if self._transfer.active or self._requests.staging:
            return 0
        if self._transfer.busy or self.clients.replies_wait:
            return BUSY_SLEEP
        if not self._has_looked:
            return LOOK_SLEEP
        if self._lifecycle.busy:
            return CHANGE_SLEEP
        if self._shutdown.begun:
            return SHUTDOWN_SLEEP
        limits = self._pending_queries.wait_limit(), self._balancer.dependencies.wait_limit()
        return min(MAX_SLEEP, *limits)

    def _finished(self) -> bool:
        if not self._has_looked:
            return False
        if self.succession.due:
            return True
        return self._shutdown.begun and (not self._registry.alive or self._shutdown.overdue)

    def stop(self) -> None:
        """Tell the engines to leave. The loop ends when they have left, or after `SHUTDOWN_GRACE`."""
        if not self._shutdown.begun:
            self._shutdown.begin(SHUTDOWN_GRACE)
            self._next_look = 0.0
            self._lifecycle.stop()

    def leave(self) -> None:
        """Kill the remaining engines, and tell the anchors to leave; call this after the loop."""
        self._lifecycle.leave()
