"""The life of the engines: they join, die, are replaced, and leave."""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ..mpi.fault_tolerance import CONSEQUENCES, SURVIVAL
from ..protocol import messages
from ..protocol.names import is_anchor
from .engine_registry import EngineRegistry
from .engines import exit_status
from .engines.anchors import Anchors
from .engines.departures import Departures
from .engines.generations import START_TIMEOUT, Generations
from .engines.joining import CommunicatorMaker, Joining
from .engines.links import EngineMessenger, send_stop
from .engines.repair_coordinator import RepairCoordinator
from .engines.replacement import Replacement
from .engines.shutdown import Shutdown
from .scheduling.balancer import Balancer
from .scheduling.delivery import BulkSender
from .scheduling.scheduler import ActiveRequest, Scheduler
from .scheduling.task_results import TaskResults
from .sessions.downloads import BulkReceiver, Downloads
from .sessions.session import Session
from .sessions.sessions import Sessions

log = logging.getLogger(__name__)


class BulkTransport(BulkSender, BulkReceiver, CommunicatorMaker, Protocol):
    """The controller's connection to the engines for bulk data."""

    @property
    def busy(self) -> bool:
        """Return whether a transfer is under way."""

    @property
    def active(self) -> bool:
        """Return whether a transfer made progress a moment ago."""

    def progress(self) -> bool:
        """Let MPI progress; return whether a transfer has become complete."""

    def engine_lost(self, engine: int, /) -> None:
        """Give up the transfers with a dead engine, and all collectives."""


class EngineLifecycle:
    """Tracks the living engines, and updates everything that depends on them."""

    def __init__(
        self,
        facts: Mapping[str, Any],
        registry: EngineRegistry,
        link: EngineMessenger,
        transfer: BulkTransport,
        scheduler: Scheduler,
        balancer: Balancer,
        results: TaskResults,
        downloads: Downloads,
        sessions: Sessions,
        shutdown: Shutdown,
        supervised: bool,  # whether a supervisor starts all processes anew after the end of this controller
    ) -> None:
        self._registry = registry
        self._link = link
        self._transfer = transfer
        self._scheduler = scheduler
        self._balancer = balancer
        self._results = results
        self._downloads = downloads
        self._sessions = sessions
        self._shutdown = shutdown
        self._logs = logs = Path(facts["logs"])
        self._unannounced = False  # whether clients have not yet been told of a change
        self._announced = registry.starting, registry.c_world_loss  # what clients were told last
        tolerance = facts["fault_tolerance"]
        self._survives = tolerance["deaths"]
        self.fatal_death = ""  # the death of an engine that ends this controller
        self.admitted_session: Session | None = None  # if set, only tasks of this session may begin
        self.anchors = Anchors(link, shutdown)
        self.departures = Departures(logs, self._survives or supervised, shutdown, self._engine_lost)
        self.repair = RepairCoordinator(scheduler, registry, link)
        self.replacement = Replacement(
            link,
            registry,
            scheduler,
            self.anchors,
            self.departures,
            self.repair,
            Joining(link, transfer),
            shutdown,
            logs,
            tolerance["replaces"],
            self._transfers_idle,
            self._replaced,
        )
        self.generations = Generations(
            link,
            registry,
            self.anchors,
            self.departures,
            self.replacement,
            shutdown,
            logs,
            facts["spawns"],
            tolerance["restarts"],
            self._survives,
            supervised,
            facts.get("room", 0),
            self._retire,
        )
        scheduler.admits = self._admits
        balancer.admits_on = self._admits_on

    def _transfers_idle(self) -> bool:
        return not (self._transfer.busy or self._downloads.busy)

    def _admits(self, request: ActiveRequest) -> bool:
        """Return whether a request may begin now."""
        if self.admitted_session not in (None, request.client):
            return False
        return self.repair.admits(request) and self.replacement.admits(request)

    def _admits_on(self, engine: int) -> bool:
        """Return whether a task for any engine may begin on this engine now."""
        if self.admitted_session is not None:
            return False
        return not self.replacement.busy and self.repair.admits_targets([engine])

    # -- methods that the event loop calls --------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Return whether a step will probably be possible in a moment."""
        return (
            self.departures.pending or self.repair.repairing or self.replacement.busy or self.generations.busy
        )

    def look(self) -> None:
        """Do the steps that are due."""
        self.departures.look()
        if self.repair.due and not (
            self._shutdown.begun
            or self.departures.pending
            or self.replacement.exclusive
            or self._downloads.busy  # an engine with an undelivered result would keep the others waiting
        ):
            self.repair.look()
        self.generations.look()
        self.replacement.look()

    def announce_changes(self) -> None:
        """Tell the clients which engines are alive, if that has changed."""
        registry = self._registry
        changed = self._announced != (registry.starting, registry.c_world_loss)
        changed = changed or self._unannounced or bool(registry.notice)
        if changed and not self.generations.awaits_first:
            self.announce({})

    def announce(self, lost: dict[int, str]) -> None:
        """Tell the clients which engines are alive, and why some no longer are."""
        registry = self._registry
        self._unannounced, self._announced = False, (registry.starting, registry.c_world_loss)
        news = registry.in_order(), registry.size, lost, registry.starting, registry.world, registry.notice
        registry.notice = ""
        for session in self._sessions.values():
            session.notify(messages.EnginesChanged, *news)

    def send_control(self, engine: int, message: messages.Message) -> None:
        """Send a message to an engine's control thread."""
        self._link.send_control(engine, message)

    def stop(self) -> None:
        """Tell the engines to leave."""
        send_stop(self._link, self._registry.alive)

    def leave(self) -> None:
        """Kill the engines that have not left in time, and tell the anchors to leave."""
        if self._shutdown.overdue:
            for engine in self._registry.alive.values():
                log.warning("engine %d does not leave: it is killed", engine.id)
                # the engine's control thread may wait for Python's lock
                self.anchors.signal(engine, signal.SIGKILL)
        self.anchors.stop()

    # -- engines that join ------------------------------------------------------------------------

    def connected(self, hello: messages.EngineHello) -> None:
        """Take an engine or an anchor that has made all its connections."""
        if is_anchor(hello.engine):
            self.anchors.joined(hello)
            self.replacement.spawned(hello.engine, messages.EnginesSpawned())  # the first engines of the job
        elif not self.generations.spawns and (
            self.generations.awaits_first or hello.engine not in self._registry.lost
        ):
            self._add(hello)
        else:
            self.replacement.arrived(hello)

    def _add(self, hello: messages.EngineHello) -> None:
        """Let an engine get tasks. Clients are told once a turn, because many engines may join together."""
        self._registry.add(hello)
        self._results.engine_joined(hello.engine)
        self._scheduler.add(hello.engine)
        self._unannounced = True

    def _replaced(self, hellos: list[messages.EngineHello]) -> None:
        for hello in hellos:
            self._add(hello)
        self._registry.starting = 0.0
        self.generations.note_arrivals()
        self.announce({})

    def placed(self, engine: int, placement: messages.EnginePlaced) -> None:
        """Note the local rank and the device of an engine."""
        self._unannounced = self._registry.place(engine, placement) or self._unannounced

    # -- engines that leave -----------------------------------------------------------------------

    def disconnected(self, engine: int) -> None:
        """Note that a connection of an engine or an anchor has closed."""
        if engine in self._registry.alive:
            self.departures.add(engine)
            return
        if is_anchor(engine):
            self.anchors.lost(engine)
        self.generations.departed(engine)
        self.replacement.departed(engine)

    def kill(self, engine: int) -> None:
        """Kill an engine that is alive."""
        self.anchors.kill_engine(self._registry.alive[engine])

    def _engine_lost(self, engine: int, how: str) -> None:
        """End the tasks of a dead engine, and have the other engines repair their communicator."""
        info = self._registry.alive.pop(engine, None)
        if info is None:
            return
        if self._shutdown.begun:
            self._scheduler.remove(engine)
            return
        # a frozen engine has lost its connection but lives, and MPI would wait for it
        self.anchors.kill_engine(info)
        for other in self._registry.alive:
            self._link.send_control(other, messages.CollectiveBroken())
        replaced = self.replacement.ends(engine)
        ended = f"was ended by rc.restart([{engine}])" if replaced else f"died: {how}"
        reason = f"engine {engine} (process {info.pid} on {info.host}) {ended}"
        follow = self.generations.follow(how)
        if self._survives:
            self._registry.lose_c_world(f"engine {engine} {'was replaced' if replaced else 'has died'}")
            self._registry.hints[engine] = SURVIVAL
        else:
            reason = self.fatal_death = f"{reason}. {CONSEQUENCES[follow]}"
            self._registry.starting = START_TIMEOUT if follow else 0.0
            self._registry.notice = reason if follow else ""
        log.error("%s", reason)
        self._registry.lost[engine] = reason
        if self._survives and not self._registry.alive:
            log.error("all engines have died: rc.restart() or 'mpidirect restart' starts new ones")
        # before the errors, after which a client may ask which engines are alive
        self.announce({engine: reason})
        self._end_tasks(engine, died=True)
        self.repair.engine_lost(engine, reason)
        self.replacement.engine_lost(engine)
        if follow:
            self.generations.replace_all(None, self._registry.size, f"was ended, as {reason}")

    def _retire(self, why: str) -> None:
        """End the tasks of all engines: a new generation will replace them."""
        retired, reasons = self._registry.in_order(), {}
        self._registry.alive.clear()
        self._registry.c_world_loss = ""
        self._registry.hints.clear()
        self._balancer.retire(f"each engine {why}")
        for info in retired:
            reasons[info.id] = self._registry.lost[info.id] = f"engine {info.id} {why}"
        log.info("%d engines are ended", len(retired))
        continues = self.admitted_session is not None  # the same engines will return in the next job
        self.announce({} if continues else reasons)  # before the errors, as in `_engine_lost`
        for info in retired:
            self._end_tasks(info.id, died=False)
        self.repair.reset()
        self.departures.clear()

    def _end_tasks(self, engine: int, died: bool) -> None:
        requests = self._scheduler.remove(engine)  # first, because the steps below may hand out tasks
        self._transfer.engine_lost(engine)
        self._downloads.engine_lost(engine)
        printed = exit_status.take_output(self._logs, engine, self._results.take_reported_output(engine))
        path = self._logs / f"engine-{engine}.log"
        tail = exit_status.log_tail(path, printed="".join(printed)) if died else ""
        self._results.engine_lost(engine, requests, self._registry.lost[engine], tail, printed)
