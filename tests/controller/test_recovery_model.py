"""The controller's recovery with simulated engines: the cluster recovers in every order of events."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mpidirect.controller.engines.states import RepairState, ReplacementState
from mpidirect.controller.scheduling.scheduler import ActiveRequest
from mpidirect.protocol.names import ANCHOR
from tests.controller.simulated_controller import Controller

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

IN_ROUND = (ReplacementState.SPAWNING, ReplacementState.PREPARING, ReplacementState.MAKING)


class Recovery(RuleBasedStateMachine):
    """All histories of deaths, restarts and tasks."""

    @initialize(size=st.integers(1, 4))
    def start(self, size):
        self.patch = pytest.MonkeyPatch()
        self.controller = Controller(size, self.patch)
        self.job, self.parts = self.controller.job, self.controller.lifecycle
        self.numbers = itertools.count()
        self.requests = []
        self.controller.settle()
        assert sorted(self.controller.registry.alive) == list(range(size))

    def engines(self):
        return [process for process in self.job.processes if process.alive and process.id != ANCHOR]

    # -- actions without a client -----------------------------------------------------------------

    @rule(choices=st.lists(st.integers(0, 20), min_size=1, max_size=12))
    def happen(self, choices):
        for choice in choices:
            actions = list(self.job.actions(self.controller))
            if actions:
                actions[choice % len(actions)]()

    @rule(seconds=st.sampled_from([0.0, 0.06, 0.2]))
    def turn(self, seconds):
        self.controller.turn(seconds)

    @rule(seconds=st.sampled_from([1.0, 6.0, 30.0]))
    def wait(self, seconds):
        self.controller.run(rounds=20, seconds=seconds / 20)

    # -- faults -----------------------------------------------------------------------------------

    @rule(choice=st.integers(0, 9))
    def kill(self, choice):
        if engines := self.engines():
            self.job.end(engines[choice % len(engines)])

    @precondition(lambda self: self.parts.replacement.state in IN_ROUND)
    @rule(choice=st.integers(0, 9), choices=st.lists(st.integers(0, 20), max_size=6))
    def kill_in_a_round(self, choice, choices):
        self.happen(choices)
        self.kill(choice)
        self.happen(choices)
        self.turn(0.2)
        self.happen(choices)

    @rule(choice=st.integers(0, 9))
    def freeze(self, choice):
        if engines := self.engines():
            engines[choice % len(engines)].frozen_since = self.controller.clock.now

    @precondition(lambda self: self.job.processes[0].alive)
    @rule(really=st.integers(0, 4))
    def kill_anchor(self, really):
        if really == 4:
            self.job.end(self.job.processes[0])

    @rule()
    def mpi_fails(self):
        self.job.faulty = True

    # -- clients ----------------------------------------------------------------------------------

    @rule(method=st.sampled_from(["collective", "apply"]), chosen=st.sets(st.integers(0, 3)))
    def submit(self, method, chosen):
        alive = sorted(self.controller.registry.alive)
        targets = alive if method == "collective" else [engine for engine in alive if engine in chosen]
        if targets:
            upload = SimpleNamespace(bulk=False)
            request = ActiveRequest(f"task {next(self.numbers)}", None, method, targets, upload)
            self.requests.append(request)
            self.controller.scheduler.submit(request)

    @rule(choice=st.integers(0, 3))
    def interrupt(self, choice):
        for process in self.engines():
            if process.id == choice and process.running is not None:
                process.interrupted = True

    @rule(chosen=st.sets(st.integers(0, 3), min_size=1), within=st.sampled_from([0.2, 60.0]))
    def restart(self, chosen, within):
        targets = sorted(engine for engine in chosen if engine < self.controller.registry.size)
        before = self.parts.replacement.busy, self.parts.generations.busy
        known = [process for process in self.engines() if process.connected]
        self.allow_ends(targets)
        self.controller.ask(lambda asked_by: self.parts.generations.restart(asked_by, within), targets)
        if before == (self.parts.replacement.busy, self.parts.generations.busy):
            self.forbid_ends(known)

    @rule(size=st.integers(1, 4))
    def resize(self, size):
        self.allow_ends(range(4))
        self.controller.ask(lambda asked_by: self.parts.generations.renew(asked_by, size), [])

    def allow_ends(self, engines):
        for process in self.engines():
            process.doomed = process.doomed or process.id in engines

    def forbid_ends(self, processes):
        """A restart that is refused at once ends no engine."""
        assert all(process.alive or process.frozen_since for process in processes)

    # -- invariants -------------------------------------------------------------------------------

    @invariant()
    def one_round_at_a_time(self):
        assert not (
            self.parts.repair.state is RepairState.REPAIRING and self.parts.replacement.state in IN_ROUND
        )

    @invariant()
    def survivors_keep_their_ids(self):
        for engine, info in self.controller.registry.alive.items():
            process = self.job.processes[info.pid - 1]
            assert process.id == engine
            assert process.departed or self.job.addressed[engine] is process

    def teardown(self):
        try:
            self.controller.settle()
            self.check_the_end()
            self.check_restarts()
        finally:
            self.patch.undo()

    def check_the_end(self):
        living = tuple(process for process in self.engines() if process.frozen_since is None)
        assert sorted(process.id for process in living) == sorted(self.controller.registry.alive)
        assert [request for request in self.requests if not request.complete] == []
        for answers in self.controller.answers.values():
            assert len(answers) == 1
            assert "these could not be ended" not in str(answers), "one that is gone is awaited"
        if self.parts.repair.state is RepairState.USABLE:
            for process in living:
                assert set(process.members) == set(living), self.controller.describe()
                assert not process.broken

    def check_restarts(self):
        """After any history: all engines can be started anew, then one, unless the anchor is dead."""
        self.job.faulty = False
        size = self.controller.registry.size
        for targets in (list(range(size)), [0]) if self.parts.anchors.can_spawn else ():
            self.allow_ends(targets)
            self.controller.ask(lambda asked_by: self.parts.generations.restart(asked_by, 60.0), targets)
            self.controller.settle()
            (answer,) = list(self.controller.answers.values())[-1]
            assert answer == {"replaced": targets}, answer
            self.check_the_end()


def check(histories):
    run_state_machine_as_test(
        Recovery,
        settings=settings(
            max_examples=histories,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_cluster_recovers():
    check(150)


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_the_cluster_recovers_from_thousands_of_histories():
    check(5000)
