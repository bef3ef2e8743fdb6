"""New engines in the place of those that died: asked for by a client, one request at a time."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...protocol import messages
from ...protocol.names import ANCHOR
from . import exit_status

if TYPE_CHECKING:
    from ..controller import Controller
    from ..scheduling.scheduler import ActiveRequest
    from ..sessions.session import Session

log = logging.getLogger(__name__)

ARRIVING = 40.0  # seconds that new processes have to start and connect, and all to let them in
RETURNING = 3.0  # of that, for MPI to come back when one has died
WORDS = 5  # lines of the log of one that did not come


class ReplacementRefused(Exception):
    """Engines can't be replaced; the text says why."""


class Replacement:
    """Replaces engines.

    What was asked of the engines before is done first, and what is asked later waits until the new ones are
    in: MPI makes communicators of all only where all take part.  The anchor, or where there is none an
    engine, has MPI start the new processes.
    They connect as engines do at the start of a job.  Then all engines and the controller make all
    communicators anew, and use them when each of them has succeeded: until then nothing has changed.

    Parameters
    ----------
    controller : Controller
        Whose engines they are.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self._wanted: list[int] = []  # engines to replace; empty: nothing is under way
        self._asked: tuple[Session, messages.Query] | None = None  # who waits for the answer
        self._earlier: set[ActiveRequest] = set()  # what was asked before, and goes on
        self._deadline = 0.0
        self._ending: set[int] = set()  # engines that are being killed
        self._leader = -1  # who starts the new ones: an engine, or the anchor; -1: not yet
        self._spawned = False
        self._hurries = False
        self._arrived: dict[int, messages.EngineHello] = {}
        self._order: messages.PrepareCommunicators | None = None
        self._unready: set[int] = set()  # engines that can't take part yet
        self._awaited: set[int] = set()  # engines that take part
        self._begin_to_use: Callable[[], None] | None = None
        self._directory = str(Path.cwd())  # where this job was started

    @property
    def busy(self) -> bool:
        """Whether one is under way."""
        return bool(self._wanted)

    @property
    def excludes(self) -> bool:
        """Whether nothing else may go on now."""
        return self._leader >= 0

    def admits(self, job: ActiveRequest) -> bool:
        """Whether a task may begin now."""
        return not self._wanted or (not self.excludes and job in self._earlier)

    def ask(self, session: Session, query: messages.Query, within: float) -> None:
        """Replace ``query.targets``; those that live are ended first.

        The answer has ``replaced``, the new engines, or ``busy``, those that had no time for it.
        """
        controller, targets = self.controller, sorted(set(query.targets))
        if targets == list(range(controller.size)):
            controller.generations.ask(session, query, controller.size)
            return
        if self._wanted:
            raise ReplacementRefused(f"engines {self._wanted} are being replaced already")
        all_anew = controller.generations.advice
        if not controller.facts["fault_tolerance"]["replaces"]:
            raise ReplacementRefused(
                "engines can't be replaced with this MPI, or as it was started. "
                f"Save what you need, then {all_anew}"
            )
        if not targets or not all(0 <= engine < controller.size for engine in targets):
            raise ReplacementRefused(f"the engines of this cluster are 0 to {controller.size - 1}")
        if controller.generations.busy:
            raise ReplacementRefused("all engines are being started anew: try again in a moment")
        if controller.engines.keys() <= set(targets) and not controller.generations.anchored:
            raise ReplacementRefused(
                "an engine that lives must start the new ones, and none would be left. "
                f"For all of them: {all_anew}"
            )
        self._wanted, self._asked = targets, (session, query)
        self._deadline = time.monotonic() + within
        self._earlier = controller.scheduler.all()
        for engine in targets:
            if engine in controller.engines:
                self._end(engine)

    def start(self, engines: list[int], asked: tuple[Session, messages.Query] | None, within: float) -> None:
        """Start `engines` where none live; answer who has `asked`, if anyone has."""
        self._wanted, self._asked = engines, asked
        self._spawn()
        self._deadline = time.monotonic() + within

    def await_first(self, engines: list[int]) -> None:
        """The anchor starts these without being asked; whoever started the job says how long it may take."""
        self._wanted, self._leader = engines, ANCHOR
        self._deadline = math.inf

    def cancel(self, why: str) -> None:
        """Give up what has not begun."""
        if self._wanted:
            self._give_up(why)

    def _end(self, engine: int) -> None:
        if engine == ANCHOR:
            self.controller.generations.end_anchor()
        else:
            self._ending.add(engine)
            self.controller.kill(engine)

    # -- what the loop calls ----------------------------------------------------------------------------

    def look(self) -> None:
        """Do what is due."""
        if not self._wanted:
            return
        late = time.monotonic() > self._deadline
        if self.controller.stopping:
            self._give_up("the cluster ends")
        elif self._leader >= 0:
            self._look_at_the_new(late)
        elif not (self.controller.engines or self.controller.generations.anchored):
            self._give_up("no engine is left to start the new ones")
        elif self._quiet():
            self._spawn()
        elif late:
            self._too_late()

    def _too_late(self) -> None:
        engines = self.controller.engines
        stubborn = [engines[id] for id in sorted(engines.keys() & self._ending)]
        if stubborn:
            where = ", ".join(f"process {e.pid} on {e.host}" for e in stubborn)
            self._give_up(f"what is to be replaced could not be ended from here: kill {where}, and try again")
        elif busy := self._occupied():
            self._answer({"busy": busy})
        else:
            self._give_up("data is still on its way between engines and clients: try again when it has come")

    def _look_at_the_new(self, late: bool) -> None:
        controller = self.controller
        missing = sorted({*self._wanted} - self._arrived.keys())
        died = [(engine, why) for engine in missing if (why := exit_status.verdict(controller.logs, engine))]
        if died and not self._spawned and not self._hurries:
            self._hurries = True  # if MPI has begun there, the one who starts it will be back in a moment
            self._deadline = min(self._deadline, time.monotonic() + RETURNING)
        elif died and (self._spawned or late):
            self._lost(*died[0], "job.log")
        elif self._spawned and not missing and self._order is None and not controller.recovery.losing:
            self._join()
        elif late:
            if not self._spawned:
                self._end(self._leader)
            self._give_up(f"engines {missing or sorted(self._awaited)} did not come in time")

    def departed(self, engine: int) -> None:
        """The connection of an engine has closed that is not in yet, or that of the anchor."""
        if engine == ANCHOR == self._leader:
            self._give_up("the process that was to start it died")
        elif engine in self._arrived:
            why = exit_status.verdict(self.controller.logs, engine) or "its connection closed"
            self._lost(engine, why, f"engine-{engine}.log")

    def _lost(self, engine: int, why: str, log: str) -> None:
        words = exit_status.last_words(self.controller.logs / log, WORDS)
        if not self._spawned:
            leader = "the process" if self._leader == ANCHOR else f"engine {self._leader}"
            why += f"; {leader}, which was to start it, waits for ever in MPI, and was ended"
            self._end(self._leader)
        self._give_up(f"the new engine {engine} died: {why}\n{words}")

    def died(self, engine: int) -> None:
        """An engine is dead: perhaps one that had a part in it."""
        self._ending.discard(engine)
        if engine == self._leader or engine in self._awaited:
            self._give_up(f"engine {engine} died meanwhile")

    def told(self, engine: int, message: Any) -> None:
        """An engine has done its part of something."""
        if isinstance(message, messages.EnginesSpawned) and engine == self._leader:
            self._spawned = True
            if message.problem:
                self._give_up(message.problem)
        elif isinstance(message, messages.ReadyToJoin) and self._meant(message):
            self._unready.discard(engine)
            self._grow()
        elif isinstance(message, messages.CommunicatorsMade) and self._meant(message):
            if message.problem:
                self._give_up(message.problem)
                return
            self._awaited.discard(engine)
            self._finish()

    def arrived(self, joined: messages.EngineHello) -> None:
        """A new engine has connected."""
        if joined.engine in self._wanted and self._leader >= 0:
            exit_status.forget(self.controller.logs, joined.engine)  # a note of its predecessor
            self._arrived[joined.engine] = joined
        else:
            self._dismiss(joined.engine)

    # -- the steps ----------------------------------------------------------------------------------------

    def _occupied(self) -> list[int]:
        engines = self.controller.scheduler.engines
        return sorted(id for id, e in engines.items() if e.sent or (e.queue and e.queue[0] in self._earlier))

    def _quiet(self) -> bool:
        """Whether those that are to die are dead, and the others have nothing to do."""
        controller = self.controller
        return not (
            controller.engines.keys() & self._ending
            or controller.recovery.busy
            or controller.transfer.busy
            or controller.downloads.busy
            or self._occupied()
        )

    def _spawn(self) -> None:
        """Have an engine start the new ones."""
        for engine in self._wanted:
            exit_status.forget(self.controller.logs, engine)
        anchored = self.controller.generations.anchored
        self._leader = ANCHOR if anchored else min(self.controller.engines)
        self._deadline = time.monotonic() + ARRIVING
        leader = "the anchor" if anchored else f"engine {self._leader}"
        log.info("%s is to start engines %s", leader, self._wanted)
        self._send([self._leader], messages.SpawnEngines(self._wanted, self._directory, self.controller.size))

    def _join(self) -> None:
        """All are there: have them get ready."""
        controller = self.controller
        try:
            port = controller.transfer.open()
        except Exception as e:  # MPI's, of which nothing is known here
            self._give_up(f"MPI can't let them in: {e}")
            return
        epoch = controller.recovery.next_epoch()
        order = messages.PrepareCommunicators(epoch, sorted(controller.engines), self._wanted, port)
        self._order = order
        self._awaited, self._unready = set(order.engines), set(order.engines)
        self._send(order.engines, order)

    def _grow(self) -> None:
        """When all are ready: make the communicators with them."""
        if self._unready or self._order is None or self.controller.recovery.losing:
            return  # if one is gone, `died` gives up in a moment
        self._send(self._order.engines, messages.MakeCommunicators(self._order.epoch))
        try:
            self._begin_to_use = self.controller.transfer.grow(self._order)
        except Exception as e:  # MPI's, of which nothing is known here
            self._give_up(f"MPI can't let them in: {e}")
        else:
            self._finish()

    def _finish(self) -> None:
        """When all have succeeded: use what they have made."""
        order, use = self._order, self._begin_to_use
        if order is None or use is None or self._awaited:
            return
        controller, replaced = self.controller, self._wanted
        use()
        self._send(order.living, messages.UseCommunicators(order.epoch))
        arrived = self._arrived
        self._forget()
        for engine in replaced:
            controller.engine_joined(arrived[engine])
        log.info("engines %s have come", replaced)
        controller.tell_engines({})
        self._tell({"replaced": replaced})
        controller.recovery.renewed()

    def _give_up(self, why: str) -> None:
        """Leave all as it was."""
        log.error("engines %s are not replaced: %s", self._wanted, why)
        for engine in self._arrived:
            self._dismiss(engine)
        self._answer(None, f"engines {self._wanted} could not be replaced: {why}")

    def _answer(self, value: Any, error: str = "") -> None:
        self._forget()
        self._tell(value, error)
        self.controller.recovery.resume()

    def _tell(self, value: Any, error: str = "") -> None:
        if self._asked is None:
            return
        session, query = self._asked
        session.tell(messages.Answer, query.id, value, error)

    def _forget(self) -> None:
        self._wanted, self._earlier, self._arrived = [], set(), {}
        self._leader, self._spawned, self._hurries = -1, False, False
        self._order, self._begin_to_use = None, None
        self._unready, self._awaited = set(), set()

    def _meant(self, message: messages.ReadyToJoin | messages.CommunicatorsMade) -> bool:
        return self._order is not None and message.epoch == self._order.epoch

    def _send(self, engines: list[int], message: messages.Message) -> None:
        for engine in engines:
            self.controller.link.send_task(engine, [messages.encode(message)])

    def _dismiss(self, engine: int) -> None:
        self._send([engine], messages.Stop())
        self.controller.send_control(engine, messages.Stop())
