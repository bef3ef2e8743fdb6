"""Simulated engines and anchors for the controller's recovery: no processes, no MPI, no real time.

The simulation is asynchronous: each step of a process, each message and each report of an end is an action of
its own, and the test chooses the order of the actions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mpidirect.protocol import messages
from mpidirect.protocol.names import ANCHOR

HEARTBEAT_LIMIT = 25.0  # seconds after which a frozen process loses its connection


class Clock:
    """A clock that replaces the module ``time``."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@dataclass(eq=False)
class Process:
    """An engine or an anchor."""

    id: int
    pid: int
    alive: bool = True
    connected: bool = False
    spawn: int = 0  # the number of the spawn that has started it
    may_connect: bool = False  # whether MPI has started the process, so that it may connect
    departed: bool = False  # whether the controller knows that the connection has closed
    noted: bool = False  # whether the rank wrapper has noted the end
    frozen_since: float | None = None
    doomed: bool = False  # whether the controller may kill it
    inbox: deque = field(default_factory=deque)
    outbox: deque = field(default_factory=deque)
    running: object | None = None  # the collective task that waits for other engines
    interrupted: bool = False
    round: Round | None = None  # the round of communicators that this engine waits in
    members: tuple[Process, ...] = ()  # the engines of its communicator
    epoch: int = 0
    broken: str = ""  # why its communicator cannot be used
    dead_engines: set[int] = field(default_factory=set)
    joining: messages.PrepareCommunicators | None = None
    prepared: tuple[Process, ...] = ()
    spawning: list[Process] = field(default_factory=list)  # processes that MPI starts on this process's order

    @property
    def acts(self):
        return self.alive and self.frozen_since is None


@dataclass(eq=False)
class Round:
    """A step in which several engines take part; it ends for all when all have entered."""

    kind: str
    epoch: int
    members: tuple[Process, ...]
    entered: set[Process] = field(default_factory=set)
    # whether the controller takes part; None: not yet; False: the controller has failed
    controller: bool | None = True

    @property
    def complete(self):
        return self.controller is True and self.entered == set(self.members)


class SimulatedJob:
    """All processes except the controller; also the controller's transports."""

    busy = False  # no bulk data is under way

    def __init__(self, clock):
        self.clock = clock
        self.processes: list[Process] = []
        self.addressed: dict[int, Process] = {}  # the process that gets the messages for an id
        self.rounds: dict[tuple[str, int], Round] = {}
        self.started_tasks: dict[object, dict[Process, tuple[Process, ...]]] = {}
        self.notes: dict[int, int] = {}  # the spawn of each engine whose end was noted
        self.faulty = False  # whether MPI fails in the next round

    def process(self, id, spawn=0):
        process = Process(id, len(self.processes) + 1, spawn=spawn)
        self.processes.append(process)
        return process

    # -- methods that the controller calls --------------------------------------------------------

    def send_order(self, engine, message):
        process = self.addressed.get(engine)
        if process is not None and process.alive:
            process.inbox.append(message)

    def send_task(self, engine, request):
        self.send_order(engine, request)

    def send_control(self, engine, message):
        process = self.addressed.get(engine)
        if process is None or not process.acts:
            return
        if isinstance(message, messages.Signal):
            self.kill(process)
        elif isinstance(message, messages.Stop):
            process.doomed = True
            self.end(process)
        elif isinstance(message, messages.LeaveCommunicator) and message.epoch >= process.epoch:
            process.broken = message.why
            process.dead_engines.add(message.dead)

    def signal_by_number(self, info, signum):
        self.kill(self.processes[info.pid - 1])
        return True

    def kill(self, process):
        """End a process for the controller, which may kill no engine without a reason."""
        if not process.alive:
            return
        hung = any(not child.alive and not child.connected for child in process.spawning)
        assert process.doomed or process.departed or process.spawning, (
            f"a sound engine is killed: {process.id}"
        )
        assert process.id != ANCHOR or hung or process.departed or process.spawning
        self.end(process)

    def end_spawn(self, cluster, number):
        """End the processes of a spawn without a spawner, and their wrappers, so that none notes it."""
        for process in self.processes:
            if process.alive and process.spawn == number and process.id != ANCHOR:
                process.noted = True
                self.end(process)

    def open_port(self):
        return "port"

    def join(self, order):
        ring = self._round("grow", order.epoch, order.engines, controller=None)
        ring.controller = all(member.alive for member in ring.members) and not self.faulty
        self.faulty = False
        if not ring.controller:
            raise RuntimeError("MPI reports the death of a process")
        return lambda: None

    def engine_lost(self, engine):
        """Do nothing: there are no transfers to give up."""

    def describe(self, directory, engine, spawn=None):
        return "it was ended" if engine in self.notes and spawn in (None, self.notes[engine]) else ""

    def remove_note(self, directory, engine):
        self.notes.pop(engine, None)

    # -- faults -----------------------------------------------------------------------------------

    def end(self, process):
        process.alive, process.running, process.round = False, None, None
        process.inbox.clear()

    # -- actions ----------------------------------------------------------------------------------

    def actions(self, controller) -> Iterator[Callable[[], None]]:
        """Yield the possible next actions; `controller` takes the messages."""
        for process in self.processes:
            if process.connected and process.outbox and not process.departed:
                yield lambda process=process: controller.receive(process, process.outbox.popleft())
            if not process.alive:
                yield from self._ending(process, controller)
            elif process.frozen_since is not None:
                if process.departed:
                    # the process leaves, because the controller has ended
                    yield lambda process=process: self.end(process)
                elif self.clock.now > process.frozen_since + HEARTBEAT_LIMIT:
                    yield lambda process=process: self._depart(process, controller)
            elif not process.connected:
                if process.may_connect:
                    yield lambda process=process: self._connect(process, controller)
            elif (step := self._step(process)) is not None:
                yield step

    def _ending(self, process, controller):
        if process.connected and not process.departed:
            yield lambda: self._depart(process, controller)
        if not process.noted and process.id != ANCHOR:
            yield lambda: self._note(process)

    def _note(self, process):
        process.noted = True
        self.notes[process.id] = process.spawn

    def _depart(self, process, controller):
        process.departed = True
        if self.addressed.get(process.id) is process:
            del self.addressed[process.id]
            controller.disconnected(process.id)

    def _connect(self, process, controller):
        process.connected = True
        self.addressed[process.id] = process
        controller.connected(process)

    def _step(self, process):
        """Return the next step of a process; None if the process waits."""
        if process.spawning:
            if all(child.alive for child in process.spawning):
                return lambda: self._spawned(process)
            return None  # MPI does not return
        if process.running is not None:
            return (lambda: self._end_collective(process)) if self._collective_ends(process) else None
        if process.round is not None:
            return (lambda: self._end_round(process)) if self._round_ends(process) else None
        if process.inbox:
            return lambda: self._obey_next(process)
        return None

    def _obey_next(self, process):
        if process.inbox:  # an action before this one may have ended the process
            self._obey(process, process.inbox.popleft())

    def _obey(self, process, message):
        if isinstance(message, messages.Stop):
            process.doomed = True
            self.end(process)
        elif isinstance(message, messages.WatchJoin):
            pass  # no simulated engine hangs in MPI
        elif isinstance(message, messages.SpawnEngines):
            process.spawning = [self.process(engine, message.number) for engine in message.engines]
        elif isinstance(message, messages.RepairCommunicator):
            self._enter(process, "repair", message.epoch, message.engines)
        elif isinstance(message, messages.PrepareCommunicators):
            process.joining = message
            if process.id in message.living:
                self._enter(process, "roll call", message.epoch, message.living)
            else:
                process.outbox.append(messages.ReadyToJoin(message.epoch))
        elif isinstance(message, messages.MakeCommunicators):
            self._enter(process, "grow", message.epoch, process.joining.engines, controller=None)
        elif isinstance(message, messages.UseCommunicators):
            self._use(process, message.epoch, process.prepared)
        else:
            self._begin_task(process, message)

    def _spawned(self, process):
        for child in process.spawning:
            child.may_connect = True
        process.spawning = []
        process.outbox.append(messages.EnginesSpawned())

    # -- tasks ------------------------------------------------------------------------------------

    def _begin_task(self, process, request):
        process.interrupted = False
        if request.method != "collective" or process.broken:
            process.outbox.append((request.id, process.broken))
            return
        begun = self.started_tasks.setdefault(request, {})
        begun[process] = process.members
        assert len(set(begun.values())) == 1, "engines begin a collective with different communicators"
        process.running = request

    def _collective_ends(self, process):
        begun = self.started_tasks[process.running]
        absent = set(process.members) - begun.keys()
        if any(member.id not in process.running.open for member in absent):
            # the client interrupts the others: an engine has failed, or has no task
            process.interrupted = True
        return process.interrupted or process.broken or not absent

    def _end_collective(self, process):
        if process.interrupted:
            process.broken = "interrupted"
        process.outbox.append((process.running.id, process.broken))
        process.running = None

    # -- rounds -----------------------------------------------------------------------------------

    def _round(self, kind, epoch, engines, controller=True):
        if (kind, epoch) not in self.rounds:
            members = tuple(self.addressed[engine] for engine in engines if engine in self.addressed)
            self.rounds[kind, epoch] = Round(kind, epoch, members, controller=controller)
        return self.rounds[kind, epoch]

    def _enter(self, process, kind, epoch, engines, controller=True):
        process.round = self._round(kind, epoch, engines, controller)
        process.round.entered.add(process)
        if controller and self.faulty:
            process.round.controller, self.faulty = False, False

    def _round_ends(self, process):
        ring = process.round
        return ring.complete or ring.controller is False or self._death_noticed(process)

    def _death_noticed(self, process):
        """Return whether a wait for a dead engine ends: in a roll call only if it was reported."""
        dead = {member.id for member in process.round.members if not member.alive}
        return bool(dead & process.dead_engines if process.round.kind != "grow" else dead)

    def _end_round(self, process):
        ring, process.round = process.round, None
        if not ring.complete:
            process.outbox.append(messages.CommunicatorsMade(ring.epoch, "an engine died"))
        elif ring.kind == "roll call":
            process.outbox.append(messages.ReadyToJoin(ring.epoch))
        elif ring.kind == "grow" and process.id in process.joining.living:
            process.prepared = ring.members
            process.outbox.append(messages.CommunicatorsMade(ring.epoch))
        else:
            self._use(process, ring.epoch, ring.members)
            process.outbox.append(messages.CommunicatorsMade(ring.epoch))

    def _use(self, process, epoch, members):
        process.epoch, process.members, process.broken = epoch, members, ""
        process.dead_engines.clear()
