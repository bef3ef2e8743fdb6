"""Generations: all engines end together, and a new generation follows."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path

from ...protocol import messages
from ..engine_registry import EngineRegistry
from . import exit_status
from .anchors import Anchors
from .departures import Departures
from .links import EngineMessenger, send_stop
from .replacement import AskedBy, Replacement, ReplacementRefused
from .shutdown import Shutdown
from .states import GENERATION, GenerationState, StateMachine

log = logging.getLogger(__name__)

LEAVE_TIMEOUT = 0.5  # seconds that engines have to leave by themselves before they are killed
KILL_TIMEOUT = 5.0  # seconds in which a killed engine must be gone
SUPERVISED_KILL_TIMEOUT = 1.0  # the same, where the supervisor ends the engines that are left
ANCHOR_TIMEOUT = 20.0  # seconds in which a new anchor must connect
START_TIMEOUT = 100.0  # seconds that new engines may take
NOTE_DELAY = 0.1  # seconds that the rank wrapper of an engine that left has to note an error
KILLED_NOTE_DELAY = 3.0  # the same for a killed engine, on which a note will be written in any case


class Generations:
    """Ends all engines, also engines that hang, and starts the next generation.

    The anchor spawns the next generation as an MPI world of its own. If MPI can't do this, a supervisor
    starts all processes of the job anew, the controller included; this controller hands over to the next one.
    """

    def __init__(
        self,
        link: EngineMessenger,
        registry: EngineRegistry,
        anchors: Anchors,
        departures: Departures,
        replacement: Replacement,
        shutdown: Shutdown,
        logs: Path,
        spawns: bool,
        can_respawn: bool,
        survives: bool,  # whether the job survives the end of an engine
        supervised: bool,  # whether a supervisor starts all processes anew when this controller has ended
        room: int,  # the most engines that the scheduler's job holds; 0 outside a job
        retire: Callable[[str], None],
    ) -> None:
        self.spawns = spawns
        self._link = link
        self._registry = registry
        self._anchors = anchors
        self._departures = departures
        self._replacement = replacement
        self._shutdown = shutdown
        self._logs = logs
        self._can_respawn = can_respawn
        self._survives = survives
        self._supervised = supervised
        self._room = max(room, registry.size) if room else 0
        self._retire = retire
        self._machine = StateMachine(GenerationState.RUNNING, GENERATION)
        self.next_size = self._former_size = registry.size
        self.asked_by: AskedBy | None = None
        self.end_reason = ""  # why the engines of this generation were ended
        self._all_arrived: Callable[[], None] = lambda: None
        self._leaving: dict[int, messages.EngineInfo] = {}  # engines of the old generation that are not gone
        self._killed: set[int] = set()  # engines that were killed: their guards write notes
        self._kill_time = 0.0  # when the engines that are left are killed
        self._deadline = 0.0  # when the killed engines must be gone
        self._anchor_deadline = 0.0  # when a new anchor must have connected; 0 if none is awaited
        self._note_deadline = 0.0  # until when the guards may note how engines ended
        if spawns:
            replacement.await_first(list(range(registry.size)))

    @property
    def state(self) -> GenerationState:
        """Return the state of the generation."""
        return self._machine.state

    @property
    def busy(self) -> bool:
        """Return whether a generation is ending."""
        return self.state in (GenerationState.ENDING, GenerationState.HANDING_OVER)

    @property
    def handover_due(self) -> bool:
        """Return whether the engines are gone, and the successor can begin."""
        return self.state is GenerationState.HANDING_OVER

    @property
    def awaits_first(self) -> bool:
        """Return whether the engines of this job will follow those of an earlier controller."""
        return self.state is GenerationState.TAKING_OVER

    def restart(self, asked_by: AskedBy, within: float) -> None:
        """Replace the query's targets. If these are all engines, a new generation replaces them.

        Raises
        ------
        ReplacementRefused
            When a replacement is not possible, or not now.
        """
        if sorted(set(asked_by.query.targets)) == list(range(self._registry.size)):
            self.renew(asked_by, self._registry.size)
            return
        if self.busy:
            raise ReplacementRefused("all engines are being started anew: try again in a moment")
        again = "'mpidirect stop' and 'mpidirect start'"
        alternative = "rc.restart() of all engines" if self._can_renew else again
        self._replacement.ask(asked_by, within, alternative)

    @property
    def _can_renew(self) -> bool:
        """Return whether all engines can be started anew."""
        spawner = self._anchors.can_spawn or self._anchors.start is not None
        return self._supervised or (self._can_respawn and spawner)

    def renew(self, asked_by: AskedBy, size: int) -> None:
        """End all engines, and start `size` others.

        Raises
        ------
        ReplacementRefused
            When a new generation is not possible, or not now.
        """
        if not self._can_renew:
            raise ReplacementRefused(
                "engines can't all be started anew with this MPI, or as it was started. Save what you need, "
                "then 'mpidirect stop' and 'mpidirect start'"
            )
        if self.state is not GenerationState.RUNNING or self._replacement.exclusive:
            raise ReplacementRefused("engines are being started just now: try again in a moment")
        if 0 < self._room < size:
            raise ReplacementRefused(
                f"this job has room for {self._room} engines, by its tasks or cores, and not for {size}. "
                "Nothing has changed: the present engines go on"
            )
        call = "rc.restart()" if size == self._registry.size else f"rc.resize({size})"
        self.replace_all(asked_by, size, f"was ended by {call}, which replaces all engines")

    @property
    def follows_deaths(self) -> bool:
        """Return whether new engines follow the death of one, which the job does not survive."""
        return not self._survives and self._supervised

    def follow(self, how: str) -> bool:
        """Return whether new engines follow the death of an engine that ends the job.

        None follow if the job is being ended: the end of a job sends SIGTERM, and this process would have
        received the signal before the engine counts as dead.
        """
        running = self.state is GenerationState.RUNNING
        return self.follows_deaths and running and signal.SIGTERM.name not in how

    def replace_all(self, asked_by: AskedBy | None, size: int, reason: str) -> None:
        """End all engines; others will follow. The `reason` completes the sentence "each engine …"."""
        self._replacement.cancel(f"each engine {reason}")
        self.asked_by, self.next_size = asked_by, size
        self._registry.starting = START_TIMEOUT
        self._end(reason)

    def end_for_next_job(self, reason: str) -> None:
        """End all engines: the controller of another job continues the cluster."""
        self._supervised = True  # the next job replaces the supervisor
        if not self.busy:
            self._end(reason)

    def _end(self, reason: str) -> None:
        """Tell all engines to leave, and end their tasks.

        If the end of an engine ends the job, engines leave after this controller has handed over.
        """
        self._machine.enter(GenerationState.ENDING)
        self.end_reason, self._anchor_deadline = reason, 0.0
        now = time.monotonic()
        self._kill_time, self._note_deadline = now + LEAVE_TIMEOUT, now
        self._leaving = {info.id: info for info in self._registry.in_order()}
        self._killed.clear()
        for info in list(self._leaving.values()):
            if self._departures.awaits_note(info.id):
                self._killed.add(info.id)
                self.departed(info.id)
                self._anchors.kill_engine(info)  # a frozen engine has lost its connection, and lives
        if self._supervised and not self._survives:
            self._leaving = {}
        send_stop(self._link, self._leaving)
        self._retire(reason)

    def departed(self, engine: int) -> None:
        """Note that the connection of an engine has closed."""
        if self._leaving.pop(engine, None) is not None:
            delay = KILLED_NOTE_DELAY if engine in self._killed else NOTE_DELAY
            self._note_deadline = max(self._note_deadline, time.monotonic() + delay)

    def look(self) -> None:
        """Do the next step, if it is possible now."""
        self.note_arrivals()
        if not (self.busy or self.awaits_first or self._replacement.busy):
            self._registry.starting = 0.0
            if self._registry.alive:
                self._former_size = self._registry.size
            else:
                self._set_size(self._former_size)  # so that the next restart does not fail as well
        if self.state is not GenerationState.ENDING or self._shutdown.begun:
            return
        now = time.monotonic()
        if self._leaving:
            self._kill_remaining(now)
        elif self._supervised:
            self._machine.enter(GenerationState.HANDING_OVER)
        elif not self._anchors.can_spawn:
            self._renew_anchor(now)
        elif self._notes_complete(now):
            self._begin()

    def note_arrivals(self) -> None:
        """Complete the start of a generation if all its engines have joined."""
        if self.awaits_first and len(self._registry.alive) == self._registry.size:
            self._machine.enter(GenerationState.RUNNING)
            self._registry.starting = 0.0
            self._all_arrived()

    def _kill_remaining(self, now: float) -> None:
        overdue = bool(self._killed & self._leaving.keys()) and now > self._deadline
        if overdue and self._supervised:
            self._leaving.clear()  # the supervisor kills them through the MPI launcher
        elif overdue:
            where = ", ".join(f"process {e.pid} on {e.host}" for e in self._leaving.values())
            self.fail(f"these could not be ended from here: {where}. Kill them, and try again")
        elif now > self._kill_time:
            for engine, info in self._leaving.items():
                if engine not in self._killed:
                    self._killed.add(engine)
                    # Counted from now: this host may have been suspended.
                    self._deadline = now + (SUPERVISED_KILL_TIMEOUT if self._supervised else KILL_TIMEOUT)
                    self._anchors.kill_engine(info)

    def _renew_anchor(self, now: float) -> None:
        """Start the process that starts engines, which has died, and wait for it."""
        if self._anchor_deadline:
            if now > self._anchor_deadline:
                self.fail("the process that starts engines died, and a new one did not come: try again")
            return
        if self._anchors.start is None:
            self.fail("the process that starts engines died: 'mpidirect stop' and 'mpidirect start'")
            return
        self._anchor_deadline = now + ANCHOR_TIMEOUT
        try:
            self._anchors.start()
        except Exception as e:  # an error of MPI
            self.fail(f"the process that starts engines died, and MPI can't start a new one: {e}")

    def _notes_complete(self, now: float) -> bool:
        """Return whether no rank wrapper still writes a note, which would count for the next engine."""
        return now > self._note_deadline or (
            bool(self._killed) and all(exit_status.describe(self._logs, engine) for engine in self._killed)
        )

    def _begin(self) -> None:
        self._machine.enter(GenerationState.RUNNING)
        asked_by, self.asked_by = self.asked_by, None
        self._former_size = self._registry.size
        self._set_size(self.next_size)
        remedy = f"\nNo engine is left: rc.restart() starts {self._former_size}, as before"
        self._replacement.start(list(range(self.next_size)), asked_by, START_TIMEOUT, remedy)

    def _set_size(self, size: int) -> None:
        if self._registry.size != size:
            self._registry.resize(size)

    def await_first(self, all_arrived: Callable[[], None]) -> None:
        """Expect the engines of this job, after those of an earlier controller; then call `all_arrived`."""
        self._machine.enter(GenerationState.TAKING_OVER)
        self._all_arrived = all_arrived
        self._registry.starting = START_TIMEOUT

    def fail(self, why: str) -> None:
        """Give up: no generation follows."""
        log.error("engines are not started anew: %s", why)
        self._machine.enter(GenerationState.RUNNING)
        self._leaving = {}
        self._registry.starting = 0.0
        if self.asked_by is not None:
            self.asked_by.answer(None, why)
