"""Histories in which recovery has failed before, with simulated engines."""

from __future__ import annotations

import pytest

from mpidirect.controller.engines.states import RepairState, ReplacementState
from mpidirect.protocol import messages
from tests.controller.simulated_controller import Controller

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def controller(monkeypatch):
    controller = Controller(3, monkeypatch)
    controller.settle()
    return controller


def engine(controller, id):
    return controller.job.addressed[id]


def restart(controller, *targets):
    for process in controller.job.processes:
        process.doomed = process.doomed or process.id in targets
    generations = controller.lifecycle.generations
    controller.ask(lambda asked_by: generations.restart(asked_by, 60.0), list(targets))


def answer(controller):
    (found,) = list(controller.answers.values())[-1]
    return found


def members(controller, id):
    return sorted(process.id for process in engine(controller, id).members)


def test_all_engines_die_and_one_is_restarted(controller):
    for id in range(3):
        controller.job.end(engine(controller, id))
    controller.settle()
    assert not controller.lifecycle.busy
    restart(controller, 1)
    controller.settle()
    assert answer(controller) == {"replaced": [1]}
    assert members(controller, 1) == [1]


def test_all_are_restarted_just_after_a_death(controller):
    controller.job.end(dead := engine(controller, 2))
    dead.noted = True  # the rank wrapper is slow
    controller.job._depart(dead, controller)
    restart(controller, 0, 1, 2)
    controller.settle()
    assert answer(controller) == {"replaced": [0, 1, 2]}


def test_one_engine_is_restarted_between_restarts_of_all(controller):
    restart(controller, 1)
    restart(controller, 0, 1, 2)
    controller.settle()
    restart(controller, 2)
    controller.settle()
    assert answer(controller) == {"replaced": [2]}


def test_an_engine_dies_that_has_made_the_communicators_before_the_others(controller):
    restart(controller, 2)
    lifecycle, job = controller.lifecycle, controller.job
    while lifecycle.replacement.state is not ReplacementState.MAKING:
        controller.run(rounds=1, seconds=0.01)
    epoch = messages.CommunicatorsMade(lifecycle.repair._epoch)
    controller.receive(engine(controller, 0), epoch)
    dead = engine(controller, 0)
    job.end(dead)
    job._note(dead)
    job._depart(dead, controller)
    controller.turn(0.0)
    for id in (1, 2):
        controller.receive(engine(controller, id), epoch)
    controller.settle()
    assert lifecycle.repair.state is RepairState.USABLE
    assert members(controller, 1) == sorted(controller.registry.alive)
