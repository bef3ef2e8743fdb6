"""What the controller does when an engine dies, or when the engines' communicator can't be used any more."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from ...protocol import messages
from . import exit_status

if TYPE_CHECKING:
    from ..controller import Controller
    from ..scheduling.scheduler import ActiveRequest

log = logging.getLogger(__name__)

NOTE_WITHIN = 0.5  # seconds that a dead engine's guard has to note how it ended
SETTLING = 0.1  # seconds after a death before the repair: engines of one node die together
PAUSE = 0.05  # seconds before a repair is tried again
ATTEMPTS = 20


class CommunicatorRecovery:
    """Keeps the engines' communicator usable.

    It is repaired when no engine has a task: all must take part, and none should wait for a busy one.  Until
    then tasks for some of the engines go on; those for all, which may well be collective, wait for it.

    Parameters
    ----------
    controller : Controller
        Whose engines they are.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.untouched = True  # nothing has ever gone wrong
        self.why = ""  # why the communicator can't be used; empty: it can
        self._epoch = 0
        self._awaited: set[int] = set()  # engines that are repairing it now
        self._problem = ""
        self._attempts = 0
        self._not_before = 0.0
        self._departed: dict[int, float] = {}  # engines that are gone, and until when we wait for the note
        self._notes = controller.facts["fault_tolerance"]["deaths"]

    @property
    def busy(self) -> bool:
        """Whether there is something to look after in a moment."""
        return bool(self._departed) or self.repairing

    @property
    def losing(self) -> bool:
        """Whether an engine is gone that is not given up yet."""
        return bool(self._departed)

    @property
    def repairing(self) -> bool:
        """Whether the communicator is being repaired, or could be at any moment."""
        due = bool(self.why) and self._attempts < ATTEMPTS
        return bool(self._awaited) or (due and not self._occupied())

    def _occupied(self) -> bool:
        engines = self.controller.scheduler.engines.values()
        return any(e.sent or (e.queue and e.queue[0].begun) for e in engines)

    def admits(self, job: ActiveRequest) -> bool:
        """Whether a task may begin now."""
        if not self.why or self._attempts >= ATTEMPTS:
            return True
        # What has begun on one engine must not begin on another with another communicator: engines would
        # meet in different calls.
        return not self._awaited and (job.begun or not self.controller.engines.keys() <= set(job.targets))

    def look(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        for engine, deadline in list(self._departed.items()):
            found = exit_status.verdict(self.controller.logs, engine)
            if found or now > deadline or self.controller.stopping:
                del self._departed[engine]
                self.controller.engine_lost(engine, found or "its connection closed")
        self._begin()

    # -- deaths -------------------------------------------------------------------------------------

    def departed(self, engine: int) -> None:
        """The connection of an engine has closed."""
        if engine in self.controller.engines and engine not in self._departed:
            self._departed[engine] = time.monotonic() + (NOTE_WITHIN if self._notes else 0)

    def died(self, engine: int, why: str) -> None:
        """An engine is dead: the others can't use a communicator with it in it."""
        self._not_before = time.monotonic() + SETTLING
        self.left(why, engine)
        if engine in self._awaited:
            self._awaited.discard(engine)
            self._end()

    # -- the communicator ------------------------------------------------------------------------------

    def left(self, why: str, dead: int = -1) -> None:
        """It can't be used any more: tell all engines."""
        self.untouched = False
        if self.why and dead < 0:
            return
        log.info("the engines' communicator needs repair: %s", why)
        self.why = self.why or why
        self._attempts = 0
        for engine in self.controller.engines:
            self.controller.send_control(engine, messages.LeaveCommunicator(self._epoch, why, dead))
        if self._awaited:
            self._problem = self._problem or why

    def _begin(self) -> None:
        """Have the engines repair it, if all are free."""
        if not self.why or self._awaited or self.controller.stopping or self._attempts >= ATTEMPTS:
            return
        if self._departed or self._occupied() or self.controller.replacement.excludes:
            return
        if self.controller.downloads.busy:
            return  # an engine that still waits for who takes its result would keep the others waiting
        if time.monotonic() < self._not_before:
            return
        living = sorted(self.controller.engines)
        self._awaited, self._problem = set(living), ""
        order = messages.encode(messages.RepairCommunicator(self.next_epoch(), living))
        for engine in living:
            self.controller.link.send_task(engine, [order])

    def repaired(self, engine: int, message: messages.CommunicatorsMade) -> None:
        """An engine has done its part."""
        if message.epoch == self._epoch and engine in self._awaited:  # else it is about new engines
            self._awaited.discard(engine)
            self._problem = self._problem or message.problem
            self._end()

    def _end(self) -> None:
        """When all have: go on, or try again."""
        if self._awaited or not self.why:
            return
        if not self._problem:
            self.why = ""
            log.info("the engines' communicator is repaired")
            self.resume()
            return
        log.warning("the engines' communicator is not repaired yet: %s", self._problem)
        self._not_before = max(self._not_before, time.monotonic() + PAUSE)
        self._attempts += 1
        if self._attempts >= ATTEMPTS:
            log.error("giving up: engines go on without a common communicator")
            self.resume()

    def reset(self) -> None:
        """No engine is left of those that had it."""
        self.why, self._problem, self._attempts = "", "", 0
        self._awaited.clear()
        self._departed.clear()
        self.untouched = False

    def next_epoch(self) -> int:
        """The number of the next communicator of all."""
        self._epoch += 1
        return self._epoch

    def renewed(self) -> None:
        """It was made anew, with engines that came."""
        self.untouched = False
        self.why, self._attempts = "", 0
        self.resume()

    def resume(self) -> None:
        """Hand out what had to wait."""
        for engine in list(self.controller.engines):
            self.controller.scheduler.next(engine)
