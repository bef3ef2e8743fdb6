"""The controller's parts for recovery, without a loop: simulated engines and a simulated clock drive them."""

from __future__ import annotations

from types import SimpleNamespace

from mpidirect.controller import lifecycle
from mpidirect.controller.engine_registry import EngineRegistry
from mpidirect.controller.engines import (
    anchors,
    departures,
    exit_status,
    generations,
    repair_coordinator,
    replacement,
    shutdown,
)
from mpidirect.controller.engines.replacement import AskedBy, ReplacementRefused
from mpidirect.controller.engines.states import GenerationState, RepairState, ReplacementState
from mpidirect.controller.scheduling.scheduler import Scheduler
from mpidirect.job import processes
from mpidirect.protocol import messages
from mpidirect.protocol.names import ANCHOR
from tests.controller.simulated_engines import Clock, SimulatedJob

SETTLED = (RepairState.USABLE, RepairState.ABANDONED)


class Unused:
    """A part of the controller that recovery only notifies."""

    busy = False
    open_port = None

    def __getattr__(self, name):
        return lambda *arguments: (0, 0)


class Controller:
    """The controller's parts for recovery, connected to simulated engines."""

    def __init__(self, size, patch):
        self.clock = Clock()
        self.job = job = SimulatedJob(self.clock)
        for module in (departures, generations, repair_coordinator, replacement, shutdown):
            patch.setattr(module, "time", self.clock)
        patch.setattr(exit_status, "describe", job.describe)
        patch.setattr(exit_status, "remove_note", job.remove_note)
        patch.setattr(anchors, "signal_here", job.signal_by_number)
        patch.setattr(processes, "end_spawn", job.end_spawn)
        patch.setattr(exit_status, "take_output", lambda *arguments: ("", ""))
        patch.setattr(exit_status, "log_tail", lambda *arguments, **keywords: "")
        self.registry = EngineRegistry(size)
        self.scheduler = Scheduler(job)
        self.answers: dict[str, list] = {}
        facts = {"logs": "/nowhere", "spawns": True}
        facts["fault_tolerance"] = {"deaths": True, "replaces": True, "restarts": True}
        parts = [Unused(), Unused(), Unused(), {}, shutdown.Shutdown(), False]
        self.lifecycle = lifecycle.EngineLifecycle(facts, self.registry, job, job, self.scheduler, *parts)
        anchor = job.process(ANCHOR)
        engines = [job.process(engine) for engine in range(size)]
        for process in (anchor, *engines):
            process.may_connect = True

    # -- messages ---------------------------------------------------------------------------------

    def connected(self, process):
        self.lifecycle.connected(messages.EngineHello(process.id, "simulated", process.pid))

    def disconnected(self, id):
        self.lifecycle.disconnected(id)

    def receive(self, process, message):
        if self.job.addressed.get(process.id) is not process:
            return
        parts, engine = self.lifecycle, process.id
        if isinstance(message, messages.EnginesSpawned):
            parts.replacement.spawned(engine, message)
        elif isinstance(message, messages.ReadyToJoin):
            parts.replacement.ready(engine, message)
        elif isinstance(message, messages.CommunicatorsMade):
            parts.repair.made(engine, message)
            parts.replacement.made(engine, message)
        else:
            task, left = message
            if self.scheduler.done(engine, task) is not None:
                if left:
                    parts.repair.broken(left)
                self.scheduler.next(engine)

    # -- clients ----------------------------------------------------------------------------------

    def ask(self, call, targets):
        """Let a client ask for a restart by a function of its query; note the answer."""
        query = messages.Query(id=str(len(self.answers)), what="restart", targets=targets, seq=0, ack=0)
        got = self.answers[query.id] = []
        session = SimpleNamespace(notify=lambda kind, id, value, error="": got.append(value or error))
        try:
            call(AskedBy(session, query))
        except ReplacementRefused as e:
            got.append(str(e))

    def turn(self, seconds):
        self.clock.now += seconds
        self.lifecycle.look()

    def run(self, rounds, seconds):
        """Let all possible actions happen, a number of times."""
        for _ in range(rounds):
            for action in list(self.job.actions(self)):
                action()
                self.turn(0.0)
            self.turn(seconds)

    def at_rest(self):
        parts = self.lifecycle
        return (
            not next(self.job.actions(self), None)
            and not any(process.alive and not process.acts for process in self.job.processes)
            and parts.repair.state in SETTLED
            and parts.replacement.state is ReplacementState.IDLE
            and parts.generations.state is GenerationState.RUNNING
            and not parts.departures.pending
            and not self.scheduler.all()
        )

    def settle(self):
        """Let all possible actions happen, until none is possible; a history without end is an error."""
        for number in range(500):
            if self.at_rest():
                return
            self.run(rounds=1, seconds=0.05 if number < 200 else 1.0)
        raise AssertionError(f"recovery does not end: {self.describe()}")

    def describe(self):
        parts = self.lifecycle
        states = [part.state.name for part in (parts.repair, parts.replacement, parts.generations)]
        return f"{states}, alive: {sorted(self.registry.alive)}, {self.job.processes}"
