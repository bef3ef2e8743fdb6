"""The states of the controller's recovery, and all transitions between them.

``python -m tests.recovery_picture`` draws ``docs/recovery.svg`` from this module, and writes the tables of
``docs/recovery.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

State = TypeVar("State", bound=Enum)
# for each state: the next states, each with the cause of the transition
Transitions = Mapping[State, Mapping[State, str]]


class RepairState(Enum):
    """The state of the communicator of all engines."""

    USABLE = "all engines can use the communicator"
    BROKEN = "an engine died or left the communicator; the controller waits until no engine has a task"
    REPAIRING = "all engines make a new communicator"
    ABANDONED = "all attempts failed; the engines go on without a common communicator"


class ReplacementState(Enum):
    """The state of a replacement: new engines take the places of engines."""

    IDLE = "no engine is replaced"
    WAITING = "engines complete earlier tasks; engines to be replaced end"
    SPAWNING = "MPI starts the new processes; the new engines connect"
    PREPARING = "all engines exchange messages, to be sure that all are alive"
    MAKING = "the controller and all engines make the communicators"


class GenerationState(Enum):
    """The state of a generation: the engines that were started together."""

    RUNNING = "the generation works, or is being started"
    ENDING = "all engines leave, or are killed"
    HANDING_OVER = "all engines are gone; this controller hands over to the next controller"
    TAKING_OVER = "this controller continues for a former one, and waits for its engines"


REPAIR: Transitions[RepairState] = {
    RepairState.USABLE: {
        RepairState.BROKEN: "an engine dies, or leaves the communicator after an interrupt",
    },
    RepairState.BROKEN: {
        RepairState.REPAIRING: "no engine has a task",
        RepairState.USABLE: "new engines join, or no engine is left",
    },
    RepairState.REPAIRING: {
        RepairState.USABLE: "all engines succeed, or no engine is left",
        RepairState.BROKEN: "an engine fails or dies",
        RepairState.ABANDONED: "an engine fails in the last attempt",
    },
    RepairState.ABANDONED: {
        RepairState.BROKEN: "an engine dies",
        RepairState.USABLE: "new engines join, or no engine is left",
    },
}

REPLACEMENT: Transitions[ReplacementState] = {
    ReplacementState.IDLE: {
        ReplacementState.WAITING: "a client asks for a restart of some engines",
        ReplacementState.SPAWNING: "a generation begins",
    },
    ReplacementState.WAITING: {
        ReplacementState.SPAWNING: "the earlier tasks are done, and the engines to be replaced have ended",
        ReplacementState.IDLE: "the time is over, no process can spawn, or all engines are restarted",
    },
    ReplacementState.SPAWNING: {
        ReplacementState.PREPARING: "all new engines have connected",
        ReplacementState.IDLE: "the spawner or a new engine dies, or the time is over",
    },
    ReplacementState.PREPARING: {
        ReplacementState.MAKING: "all engines are ready",
        ReplacementState.IDLE: "an engine fails or dies, or the time is over",
    },
    ReplacementState.MAKING: {
        ReplacementState.IDLE: "all succeed; or an engine fails or dies, or the time is over",
    },
}

GENERATION: Transitions[GenerationState] = {
    GenerationState.RUNNING: {
        GenerationState.ENDING: "a client asks for a restart of all engines, an engine dies where "
        "the others do not survive that, or the next job is to continue",
        GenerationState.TAKING_OVER: "a former controller has handed over",
    },
    GenerationState.ENDING: {
        GenerationState.RUNNING: "all engines are gone, and the anchor spawns the next; or the restart fails",
        GenerationState.HANDING_OVER: "all engines are gone, and a supervisor or the next job continues",
    },
    GenerationState.HANDING_OVER: {
        GenerationState.RUNNING: "the handover file cannot be written",
    },
    GenerationState.TAKING_OVER: {
        GenerationState.RUNNING: "all engines have come",
        GenerationState.ENDING: "the next job is to continue",
    },
}


class StateMachine(Generic[State]):
    """A state that changes only by the transitions of a table.

    Parameters
    ----------
    initial : State
        The first state.
    transitions : mapping of State to mapping of State to str
        For each state: the next states, and the cause of each transition.

    Attributes
    ----------
    state : State
        The present state.

    Examples
    --------
    >>> repair = StateMachine(RepairState.USABLE, REPAIR)
    >>> repair.enter(RepairState.BROKEN)
    >>> repair.state.name
    'BROKEN'
    """

    def __init__(self, initial: State, transitions: Transitions[State]) -> None:
        self.state = initial
        self._transitions = transitions

    def enter(self, state: State) -> None:
        """Enter a state.

        Raises
        ------
        AssertionError
            When the table has no transition from the present state to this one.
        """
        assert state in self._transitions.get(self.state, ()), f"no transition from {self.state} to {state}"
        self.state = state
