"""The repair of the engines' communicator, after an engine has died or was interrupted in it."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from ...protocol import messages
from ..engine_registry import EngineRegistry
from ..scheduling.scheduler import ActiveRequest, Scheduler
from .links import EngineMessenger
from .states import REPAIR, RepairState, StateMachine

log = logging.getLogger(__name__)

SETTLE_TIME = 0.1  # seconds between a death and the repair, because engines of one node die together
RETRY_DELAY = 0.05  # seconds between two attempts
MAX_ATTEMPTS = 20


class RepairCoordinator:
    """Keeps the engines' communicator usable.

    All engines must take part in a repair, and none should wait for a busy engine. So the repair begins when
    no engine has a task. Until then tasks for some of the engines continue. Tasks for all engines wait,
    because they are probably collective.
    """

    def __init__(self, scheduler: Scheduler, registry: EngineRegistry, link: EngineMessenger) -> None:
        self.untouched = True  # whether the communicator has never been broken or replaced
        self._scheduler = scheduler
        self._registry = registry
        self._link = link
        self._machine = StateMachine(RepairState.USABLE, REPAIR)
        self._epoch = 0  # the number of the latest communicator
        self._repairing: set[int] = set()  # engines that have not reported the end of their repair
        self._problem = ""  # why the present repair fails
        self._attempts = 0
        self._earliest = 0.0  # when the next repair may begin

    @property
    def state(self) -> RepairState:
        """Return the state of the communicator."""
        return self._machine.state

    @property
    def due(self) -> bool:
        """Return whether a repair is needed, and worth another attempt."""
        return self.state in (RepairState.BROKEN, RepairState.REPAIRING)

    @property
    def repairing(self) -> bool:
        """Return whether a repair is under way, or could begin at any moment."""
        return self.state is RepairState.REPAIRING or (
            self.state is RepairState.BROKEN and not self._occupied()
        )

    def _occupied(self) -> bool:
        """Return whether an engine has a task, or must still begin a task that others have begun."""
        engines = self._scheduler.engines.values()
        return any(engine.sent or (engine.queue and engine.queue[0].begun) for engine in engines)

    def admits(self, request: ActiveRequest) -> bool:
        """Return whether a request may begin now."""
        return self.state is RepairState.USABLE or self.admits_targets(request.targets, request.begun)

    def admits_targets(self, targets: Collection[int], begun: bool = False) -> bool:
        """Return whether a task may begin on these engines; `begun` if it has begun on one of them.

        If a task has begun on one engine, it must not begin on another engine with another communicator: the
        engines would be in different calls.
        """
        if not self.due:
            return True
        return self.state is RepairState.BROKEN and (begun or not self._registry.alive.keys() <= set(targets))

    # -- damage -----------------------------------------------------------------------------------

    def engine_lost(self, engine: int, why: str) -> None:
        """Note the death of an engine: the others can't use a communicator that contains the dead engine."""
        if not self._registry.alive:
            self.reset()
            return
        self._earliest = time.monotonic() + SETTLE_TIME
        self.broken(why, engine)
        if engine in self._repairing:
            self._repairing.discard(engine)
            self._finish()

    def broken(self, why: str, dead: int = -1) -> None:
        """Tell all engines to leave the communicator; `dead` is the engine that died, if any."""
        self.untouched = False
        if self.state is not RepairState.USABLE and dead < 0:
            return
        log.info("the engines' communicator needs repair: %s", why)
        self._attempts = 0
        for engine in self._registry.alive:
            self._link.send_control(engine, messages.LeaveCommunicator(self._epoch, why, dead))
        if self.state is RepairState.REPAIRING:
            self._problem = self._problem or why
        elif self.state is not RepairState.BROKEN:
            self._machine.enter(RepairState.BROKEN)

    # -- repair -----------------------------------------------------------------------------------

    def look(self) -> None:
        """If the repair is due and all engines are free, have them make a new communicator."""
        if self.state is not RepairState.BROKEN or self._occupied() or time.monotonic() < self._earliest:
            return
        self._machine.enter(RepairState.REPAIRING)
        engines = sorted(self._registry.alive)
        self._repairing, self._problem = set(engines), ""
        order = messages.RepairCommunicator(self.next_epoch(), engines)
        for engine in engines:
            self._link.send_order(engine, order)

    def made(self, engine: int, message: messages.CommunicatorsMade) -> None:
        """Take an engine's report that its part of the repair is complete. Other epochs are ignored."""
        if message.epoch == self._epoch and engine in self._repairing:
            self._repairing.discard(engine)
            self._problem = self._problem or message.problem
            self._finish()

    def _finish(self) -> None:
        """When all engines have reported, use the new communicator, or try again."""
        if self._repairing:
            return
        if not self._problem:
            self._machine.enter(RepairState.USABLE)
            log.info("the engines' communicator is repaired")
            self._scheduler.resume()
            return
        log.warning("the engines' communicator is not repaired yet: %s", self._problem)
        self._earliest = max(self._earliest, time.monotonic() + RETRY_DELAY)
        self._attempts += 1
        if self._attempts < MAX_ATTEMPTS:
            self._machine.enter(RepairState.BROKEN)
        else:
            self._machine.enter(RepairState.ABANDONED)
            log.error("giving up: engines go on without a common communicator")
            self._scheduler.resume()

    # -- communicators that are made in other ways ------------------------------------------------

    def next_epoch(self) -> int:
        """Return the number of the next communicator."""
        self._epoch += 1
        return self._epoch

    def reset(self) -> None:
        """Forget the communicator: all its engines have ended."""
        self.untouched = False
        self._repairing.clear()
        self._enter_usable()

    def renewed(self) -> None:
        """Note that all communicators were made anew, together with new engines."""
        self.untouched = False
        self._enter_usable()
        self._scheduler.resume()

    def _enter_usable(self) -> None:
        if self.state is not RepairState.USABLE:
            self._machine.enter(RepairState.USABLE)
