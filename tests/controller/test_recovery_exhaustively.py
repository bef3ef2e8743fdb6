"""All histories of up to five deaths and restarts of up to four engines, with simulated engines."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence

import pytest

from tests.controller.simulated_controller import Controller

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

Event = tuple[str, tuple[int, ...]]


@pytest.fixture(autouse=True)
def _no_log():
    logging.disable()  # pytest would keep a million lines
    yield
    logging.disable(logging.NOTSET)


def events(size: int, living: frozenset[int], most: int) -> Iterator[tuple[Event, frozenset[int]]]:
    """Yield the possible events, and the engines that live after each; `most` engines may die at once."""
    everyone = frozenset(range(size))
    for count in range(1, min(len(living), most) + 1):
        for victims in itertools.combinations(sorted(living), count):
            yield ("deaths", victims), living - {*victims}
    if living and living != everyone:
        yield ("restart", tuple(sorted(everyone - living))), everyone
    if size > 1:
        for engine in sorted(living):
            yield ("restart", (engine,)), living
    yield ("restart", tuple(range(size))), everyone


def histories(size: int, length: int, most: int) -> Iterator[tuple[Event, ...]]:
    """Yield all histories of a number of events."""

    def continued(living: frozenset[int], left: int) -> Iterator[tuple[Event, ...]]:
        if not left:
            yield ()
            return
        for event, after in events(size, living, most):
            for rest in continued(after, left - 1):
                yield (event, *rest)

    return continued(frozenset(range(size)), length)


def live(size: int, history: Sequence[Event], patch: pytest.MonkeyPatch) -> None:
    """Let simulated engines live through a history, and check the state after each event."""
    controller = Controller(size, patch)
    controller.settle()
    living = set(range(size))
    for kind, engines in history:
        if kind == "deaths":
            for engine in engines:
                controller.job.end(controller.job.addressed[engine])
            living -= {*engines}
        else:
            for engine in living & {*engines}:
                controller.job.addressed[engine].doomed = True
            controller.ask(
                lambda asked_by: controller.lifecycle.generations.restart(asked_by, 60.0), list(engines)
            )
            living |= {*engines}
        controller.settle()
        check(controller, living)
        if kind == "restart":
            assert list(controller.answers.values())[-1] == [{"replaced": list(engines)}]


def check(controller: Controller, living: set[int]) -> None:
    """Check that exactly these engines live, and that they share a communicator."""
    assert set(controller.registry.alive) == living
    processes = {engine: controller.job.addressed[engine] for engine in living}
    for process in processes.values():
        assert set(process.members) == set(processes.values()) and not process.broken


def count(size: int, length: int, most: int) -> int:
    """Live through all histories of a length; return how many there are."""
    number = 0
    for history in histories(size, length, most):
        with pytest.MonkeyPatch.context() as patch:
            try:
                live(size, history, patch)
            except Exception as e:
                raise AssertionError(f"{size} engines: {history}") from e
        number += 1
    return number


@pytest.mark.parametrize(("size", "number"), [(1, 5), (2, 121), (3, 539)])
def test_all_histories_of_three_events(size, number):
    assert count(size, 3, most=size) == number


# Engines, events, maximum deaths at the same time, and number of histories.
HISTORIES = [
    (1, 5, 1, 13),
    (2, 5, 2, 2445),
    (3, 5, 3, 26083),
    (4, 4, 4, 20640),
    (4, 5, 1, 38273),
]


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("size", "length", "most", "number"), HISTORIES)
def test_all_histories_of_five_events(size, length, most, number):
    assert count(size, length, most) == number
