"""The repair of the engines' communicator, after an engine died or was interrupted in it."""

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

SETTLE_TIME = 0.1  # seconds after a death before the repair: engines of one node die together
RETRY_DELAY = 0.05  # seconds before a repair is tried again
MAX_ATTEMPTS = 20


class RepairCoordinator:
    """Keeps the engines' communicator usable.

    All engines must take part in a repair, and none should wait for a busy one. So the repair begins when no
    engine has a task. Until then tasks for some of the engines go on; tasks for all engines, which are likely
    to be collective, wait.
    """

    def __init__(self, scheduler: Scheduler, registry: EngineRegistry, link: EngineMessenger) -> None:
        self.untouched = True  # whether the communicator has never been broken or made anew
        self._scheduler = scheduler
        self._registry = registry
        self._link = link
        self._machine = StateMachine(RepairState.USABLE, REPAIR)
        self._epoch = 0  # the number of the latest communicator
        self._repairing: set[int] = set()  # engines that have not answered the order to repair
        self._problem = ""  # why the repair under way fails
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
        """Return whether an engine has a task, or one waits for it that others have begun."""
        engines = self._scheduler.engines.values()
        return any(engine.sent or (engine.queue and engine.queue[0].begun) for engine in engines)

    def admits(self, request: ActiveRequest) -> bool:
        """Return whether a request may begin now."""
        return self.state is RepairState.USABLE or self.admits_targets(request.targets, request.begun)

    def admits_targets(self, targets: Collection[int], begun: bool = False) -> bool:
        """Return whether a task may begin on these engines; `begun` if it has on one of them.

        A task that has begun on one engine must not begin on another with another communicator: the engines
        would meet in different calls.
        """
        if not self.due:
            return True
        return self.state is RepairState.BROKEN and (begun or not self._registry.alive.keys() <= set(targets))

    # -- damage -----------------------------------------------------------------------------------

    def engine_lost(self, engine: int, why: str) -> None:
        """Note the death of an engine: the others cannot use a communicator that contains the dead one."""
        if not self._registry.alive:
            self.reset()
            return
        self._earliest = time.monotonic() + SETTLE_TIME
        self.broken(why, engine)
        if engine in self._repairing:
            self._repairing.discard(engine)
            self._finish()

    def broken(self, why: str, dead: int = -1) -> None:
        """Tell all engines to leave the communicator; `dead` is the engine that died, if one did."""
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
        """Have the engines make a new communicator, which is due, if all are free."""
        if self.state is not RepairState.BROKEN or self._occupied() or time.monotonic() < self._earliest:
            return
        self._machine.enter(RepairState.REPAIRING)
        engines = sorted(self._registry.alive)
        self._repairing, self._problem = set(engines), ""
        order = messages.RepairCommunicator(self.next_epoch(), engines)
        for engine in engines:
            self._link.send_order(engine, order)

    def made(self, engine: int, message: messages.CommunicatorsMade) -> None:
        """Take an engine's report that it has done its part. A report of another epoch is ignored."""
        if message.epoch == self._epoch and engine in self._repairing:
            self._repairing.discard(engine)
            self._problem = self._problem or message.problem
            self._finish()

    def _finish(self) -> None:
        """Use the new communicator, or try again, when all engines have reported."""
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

    # -- communicators that are made otherwise ----------------------------------------------------

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
        """Note that the communicator was made anew, with new engines in it."""
        self.untouched = False
        self._enter_usable()
        self._scheduler.resume()

    def _enter_usable(self) -> None:
        if self.state is not RepairState.USABLE:
            self._machine.enter(RepairState.USABLE)
