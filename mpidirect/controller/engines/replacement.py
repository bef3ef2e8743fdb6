"""The replacement of single engines, on request of a client; one request at a time."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import format_ids
from ...protocol import messages
from ...protocol.names import ANCHOR
from ..engine_registry import EngineRegistry
from ..scheduling.scheduler import ActiveRequest, Scheduler
from ..sessions.session import Session
from . import exit_status
from .anchors import Anchors
from .departures import Departures
from .joining import JoinFailed, Joining
from .links import EngineMessenger, send_stop
from .repair_coordinator import RepairCoordinator
from .shutdown import Shutdown
from .states import REPLACEMENT, ReplacementState, StateMachine

log = logging.getLogger(__name__)

ARRIVAL_TIMEOUT = 100.0  # seconds that new processes have to start, connect and join
# the part of these seconds in which MPI must return from a spawn if a new process has died
SPAWN_RETURN_TIMEOUT = 3.0
LOG_LINES = 5  # number of lines that are shown of the log of an engine that did not join


class ReplacementRefused(Exception):
    """Engines cannot be replaced; the text says why."""


class AskedBy(NamedTuple):
    """The query that a replacement answers."""

    session: Session
    query: messages.Query

    def answer(self, value: Any, error: str = "") -> None:
        """Answer the query."""
        self.session.notify(messages.Answer, self.query.id, value, error)


class Replacement:
    """Replaces engines.

    Earlier tasks are completed first. Later tasks wait until the new engines have joined, because MPI makes
    communicators of all engines only if all take part. The anchor (without an anchor, an engine) has MPI
    start the new processes, which connect and join as engines do at the start of a job.
    """

    def __init__(
        self,
        link: EngineMessenger,
        registry: EngineRegistry,
        scheduler: Scheduler,
        anchors: Anchors,
        departures: Departures,
        repair: RepairCoordinator,
        joining: Joining,
        shutdown: Shutdown,
        logs: Path,
        possible: bool,
        transfers_idle: Callable[[], bool],
        joined: Callable[[list[messages.EngineHello]], None],
    ) -> None:
        self._link = link
        self._registry = registry
        self._scheduler = scheduler
        self._anchors = anchors
        self._departures = departures
        self._repair = repair
        self._joining = joining
        self._shutdown = shutdown
        self._logs = logs
        self._possible = possible
        self._transfers_idle = transfers_idle
        self._joined = joined
        self._machine = StateMachine(ReplacementState.IDLE, REPLACEMENT)
        self._wanted: list[int] = []  # engines to replace
        self._asked_by: AskedBy | None = None
        self._remedy = ""  # what a client can do if all engines fail to start
        self._earlier: set[ActiveRequest] = set()  # requests that are done first
        self._deadline = self._spawn_began = 0.0
        self._killed: set[int] = set()  # engines that will be replaced, and may still be alive
        self._spawner = -1  # the engine or anchor that starts the new processes; -1 if none does
        self._spawns = 0  # the number of the latest spawn; the first engines are spawn 0
        self._spawned = False  # whether MPI has started the new processes
        self._spawn_failing = False  # whether a new process has died before MPI returned from the spawn
        self._arrived: dict[int, messages.EngineHello] = {}
        self._directory = str(Path.cwd())  # the directory in which this job was started

    @property
    def state(self) -> ReplacementState:
        """Return the state of the replacement."""
        return self._machine.state

    @property
    def busy(self) -> bool:
        """Return whether a replacement is under way."""
        return self.state is not ReplacementState.IDLE

    @property
    def exclusive(self) -> bool:
        """Return whether new engines are being started, so no task may begin."""
        return self.state not in (ReplacementState.IDLE, ReplacementState.WAITING)

    def ends(self, engine: int) -> bool:
        """Return whether this is the end of a living engine that will be replaced."""
        return engine in self._killed and engine in self._wanted

    def admits(self, request: ActiveRequest) -> bool:
        """Return whether a request may begin now."""
        if self.state is ReplacementState.IDLE:
            return True
        return self.state is ReplacementState.WAITING and request in self._earlier

    # -- requests ---------------------------------------------------------------------------------

    def ask(self, asked_by: AskedBy, within: float, alternative: str) -> None:
        """Replace the query's targets; kill those that are alive.

        The answer has ``replaced``, the new engines, or ``busy``, the engines that did not get free within
        `within` seconds. A refusal names the `alternative`, which starts all engines anew.
        """
        registry, targets = self._registry, sorted(set(asked_by.query.targets))
        if self.busy:
            raise ReplacementRefused(f"engines {self._wanted} are being replaced already")
        if not self._possible:
            raise ReplacementRefused(
                "engines can't be replaced with this MPI, or as it was started. "
                f"Save what you need, then {alternative}"
            )
        if not targets or not all(0 <= engine < registry.size for engine in targets):
            raise ReplacementRefused(f"the engines of this cluster are 0 to {registry.size - 1}")
        if registry.alive.keys() <= set(targets) and not self._anchors.can_spawn:
            raise ReplacementRefused(
                "an engine that lives must start the new ones, and none would be left. "
                f"For all of them: {alternative}"
            )
        self._machine.enter(ReplacementState.WAITING)
        self._wanted, self._asked_by = targets, asked_by
        self._deadline = time.monotonic() + within
        self._earlier = self._scheduler.all()
        for engine in targets:
            if engine in registry.alive:
                self._killed.add(engine)
                self._anchors.kill_engine(registry.alive[engine])

    def start(self, engines: list[int], asked_by: AskedBy | None, within: float, remedy: str) -> None:
        """Start `engines` where none are alive, within so many seconds; an error names the `remedy`."""
        self._wanted, self._asked_by, self._remedy = engines, asked_by, remedy
        self._spawn()
        self._deadline = time.monotonic() + within

    def await_first(self, engines: list[int]) -> None:
        """Expect the first engines. The anchor starts them without an order; the launcher limits the time."""
        self._machine.enter(ReplacementState.SPAWNING)
        self._wanted, self._spawner = engines, ANCHOR
        self._deadline = math.inf

    def cancel(self, why: str) -> None:
        """Give up the replacement under way, if any."""
        if self.busy:
            self._give_up(why)

    # -- progress ---------------------------------------------------------------------------------

    def look(self) -> None:
        """Do the next step, if it is possible now."""
        if not self.busy:
            return
        late = time.monotonic() > self._deadline
        if self._shutdown.begun:
            self._give_up("the cluster ends")
        elif self.exclusive:
            self._await_new(late)
        elif not (self._registry.alive or self._anchors.can_spawn):
            self._give_up("no engine is left to start the new ones")
        elif self._all_quiet():
            self._spawn()
        elif late:
            self._too_late()

    def _all_quiet(self) -> bool:
        """Return whether the engines to replace are dead, and the others have no tasks."""
        return not (
            self._registry.alive.keys() & self._killed
            or self._departures.pending
            or self._repair.repairing
            or not self._transfers_idle()
            or self._occupied()
        )

    def _occupied(self) -> list[int]:
        """Return the engines with tasks that are completed first."""
        engines = self._scheduler.engines
        return sorted(id for id, e in engines.items() if e.sent or (e.queue and e.queue[0] in self._earlier))

    def _too_late(self) -> None:
        alive = self._registry.alive
        if stubborn := [alive[id] for id in sorted(alive.keys() & self._killed)]:
            where = ", ".join(f"process {e.pid} on {e.host}" for e in stubborn)
            self._give_up(f"what is to be replaced could not be ended from here: kill {where}, and try again")
        elif busy := self._occupied():
            self._answer({"busy": busy})
        else:
            self._give_up("data is still on its way between engines and clients: try again when it has come")

    def _spawn(self) -> None:
        """Have the anchor or an engine start the new processes."""
        self._machine.enter(ReplacementState.SPAWNING)
        for engine in self._wanted:
            exit_status.remove_note(self._logs, engine)
        self._spawner = ANCHOR if self._anchors.can_spawn else min(self._registry.alive)
        self._spawn_began = time.monotonic()
        self._deadline = self._spawn_began + ARRIVAL_TIMEOUT
        name = "the anchor" if self._spawner == ANCHOR else f"engine {self._spawner}"
        log.info("%s is to start engines %s", name, self._wanted)
        self._spawns += 1
        order = messages.SpawnEngines(self._wanted, self._directory, self._registry.size, self._spawns)
        self._link.send_order(self._spawner, order)

    def _await_new(self, late: bool) -> None:
        """Wait for the new processes; when all have connected, have them join."""
        missing = sorted({*self._wanted} - self._arrived.keys())
        died = [(engine, how) for engine in missing if (how := self._end_of_new(engine))]
        if died and not self._spawned and not self._spawn_failing:
            self._spawn_failing = True  # if MPI has connected to the dead process, MPI returns soon
            self._deadline = min(self._deadline, time.monotonic() + SPAWN_RETURN_TIMEOUT)
        elif died and (self._spawned or late):
            self._new_engine_died(*died[0], "job.log")
        elif self._spawned and not missing and self._can_join():
            self._begin_joining()
        elif late:
            self._give_up_late(missing)

    def _give_up_late(self, missing: list[int]) -> None:
        """Give up, and tell what was waited for."""
        limit = f"within {time.monotonic() - self._spawn_began:.0f} s"
        if not self._spawned:
            self._kill_spawner()
            self._give_up(f"MPI has not returned from their start {limit}")
        elif missing:
            self._give_up(f"MPI has started them, and engines {missing} have not connected {limit}")
        else:
            self._give_up(f"engines {self._joining.awaited} have not made communicators with them {limit}")

    def _can_join(self) -> bool:
        return self.state is ReplacementState.SPAWNING and not self._departures.pending

    def _begin_joining(self) -> None:
        self._machine.enter(ReplacementState.PREPARING)
        try:
            epoch = self._repair.next_epoch()
            self._joining.begin(epoch, sorted(self._registry.alive), self._wanted)
        except JoinFailed as e:
            self._give_up(str(e))

    # -- reports of engines -----------------------------------------------------------------------

    def spawned(self, engine: int, message: messages.EnginesSpawned) -> None:
        """Note that MPI has returned from the spawn."""
        if engine == self._spawner:
            self._spawned = True
            if message.problem:
                self._give_up(message.problem)

    def arrived(self, hello: messages.EngineHello) -> None:
        """Note that a new engine has connected."""
        if hello.engine in self._wanted and self.exclusive:
            exit_status.remove_note(self._logs, hello.engine)  # a note on the engine's predecessor
            self._arrived[hello.engine] = hello
        else:
            send_stop(self._link, [hello.engine])

    def ready(self, engine: int, message: messages.ReadyToJoin) -> None:
        """Note that an engine is ready; when all engines are ready, make the communicators."""
        self._joining.ready(engine, message)
        if not self._joining.all_ready or self._departures.pending:
            return  # `engine_lost` will give up if an engine has died
        self._machine.enter(ReplacementState.MAKING)
        self._anchors.watch_join(self._joining.port, len(self._wanted))
        try:
            self._joining.make()
        except JoinFailed as e:
            self._give_up(str(e))
        else:
            self._finish_if_complete()
        finally:
            self._anchors.watch_join()

    def made(self, engine: int, message: messages.CommunicatorsMade) -> None:
        """Note that an engine has made the communicators."""
        try:
            self._joining.made(engine, message)
        except JoinFailed as e:
            self._give_up(str(e))
        else:
            self._finish_if_complete()

    def _finish_if_complete(self) -> None:
        """If all engines have succeeded, use the new communicators and engines."""
        if not self._joining.complete:
            return
        replaced, arrived = self._wanted, self._arrived
        self._joining.finish()
        # after a restart of all engines, no message told of their end
        self._killed.difference_update(replaced)
        self._clear()
        if self._registry.c_world_loss:
            self._registry.tell_of_c_world()
        self._joined([arrived[engine] for engine in replaced])
        log.info("engines %s have come", replaced)
        if self._asked_by is not None:
            self._asked_by.answer({"replaced": replaced})
        self._repair.renewed()

    # -- failures ---------------------------------------------------------------------------------

    def departed(self, engine: int) -> None:
        """Note that the anchor, or an engine that has not joined, has closed its connection."""
        if engine == ANCHOR == self._spawner:
            self._give_up("the process that was to start it died")
        elif engine in self._arrived and not self._spawned:
            del self._arrived[engine]  # the spawn has returned, and its report is under way
        elif engine in self._arrived:
            how = self._end_of_new(engine) or "its connection closed"
            self._new_engine_died(engine, how, f"engine-{engine}.log")

    def _end_of_new(self, engine: int) -> str:
        """Return how a new engine ended; empty while no note says so."""
        return exit_status.describe(self._logs, engine, self._spawns)

    def _new_engine_died(self, engine: int, how: str, log_name: str) -> None:
        if not self._spawned:
            spawner = "the process" if self._spawner == ANCHOR else f"engine {self._spawner}"
            how += f"; {spawner}, which was to start it, waits for ever in MPI, and was ended"
            self._kill_spawner()
        tail = exit_status.log_tail(self._logs / log_name, LOG_LINES)
        self._give_up(f"the new engine {engine} died: {how}\n{tail}")

    def _kill_spawner(self) -> None:
        if self._spawner == ANCHOR:
            self._anchors.kill_spawner()
        else:
            self._killed.add(self._spawner)
            self._anchors.kill_engine(self._registry.alive[self._spawner])

    def engine_lost(self, engine: int) -> None:
        """Give up if a dead engine takes part in the replacement."""
        self._killed.discard(engine)
        if engine == self._spawner or engine in self._joining.engines:
            self._give_up(f"engine {engine} died meanwhile")

    def _give_up(self, why: str) -> None:
        """End the replacement; nothing has changed."""
        log.error("engines %s are not started: %s", self._wanted, why)
        in_spawn = self.state is ReplacementState.SPAWNING and not self._spawned
        if (in_spawn or self.state is ReplacementState.MAKING) and not self._shutdown.begun:
            self._anchors.end_spawn(self._spawns)
        send_stop(self._link, self._arrived)
        names = f"engine{'s' * (len(self._wanted) > 1)} {format_ids(self._wanted)}"
        self._answer(None, f"{names} could not be started: {why}{self._remedy}")

    def _answer(self, value: Any, error: str = "") -> None:
        self._clear()
        if self._asked_by is not None:
            self._asked_by.answer(value, error)
        self._scheduler.resume()

    def _clear(self) -> None:
        self._machine.enter(ReplacementState.IDLE)
        self._wanted, self._earlier, self._arrived, self._remedy = [], set(), {}, ""
        self._spawner, self._spawned, self._spawn_failing = -1, False, False
        self._joining.clear()
