"""The picture and the tables of recovery show the code as it is."""

from __future__ import annotations

import pytest

from mpidirect.controller.engines import states
from tests import recovery_picture

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


def test_the_picture_is_made_of_this_code():
    assert recovery_picture.PICTURE.read_text() == recovery_picture.picture(), (
        "python -m tests.recovery_picture"
    )


def test_the_tables_are_made_of_this_code():
    text = recovery_picture.PAGE.read_text()
    assert text == recovery_picture.page(text), "python -m tests.recovery_picture"
    assert text.count("| from | to | cause |") == len(recovery_picture.MACHINES)


@pytest.mark.parametrize("transitions", recovery_picture.MACHINES.values(), ids=recovery_picture.MACHINES)
def test_each_state_has_a_way_out_and_leads_back(transitions):
    first = next(iter(type(next(iter(transitions)))))
    for state in type(first):
        reached, ahead = set(), [state]
        while ahead:
            reached.add(here := ahead.pop())
            ahead += transitions[here].keys() - reached
        assert first in reached, state


def test_a_transition_that_does_not_exist_is_an_error():
    repair = states.StateMachine(states.RepairState.USABLE, states.REPAIR)
    with pytest.raises(AssertionError, match=r"no transition from .*USABLE to .*REPAIRING"):
        repair.enter(states.RepairState.REPAIRING)
