"""All engines at once: the first ones, where they are spawned, and new ones in the place of all."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ...protocol import messages
from ...protocol.names import ANCHOR
from . import exit_status
from .replacement import ReplacementRefused

if TYPE_CHECKING:
    from ..controller import Controller
    from ..sessions.session import Session

log = logging.getLogger(__name__)

ASKED = 0.5  # seconds that engines have to leave by themselves before they are killed
KILLED = 5.0  # seconds in which a killed engine must be gone
HANGING = 1.0  # the same where the supervisor ends those that are not
STARTING = 100.0  # seconds that new ones may take
NOTED = 0.1  # seconds that the guard of one that left has to note how, if it has something to note


class Generations:
    """Has the anchor start engines: all of them, as an MPI world of their own.

    The anchor is a rank that does nothing else; of several hosts, each has one.  So all engines can end,
    however they hang, and others can follow; nobody else waits while MPI starts them; and if MPI never comes
    back, the anchor alone is lost.

    Parameters
    ----------
    controller : Controller
        Whose engines they are.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.spawns: bool = controller.facts["spawns"]
        self._due = False  # whether one ends, and the next is to begin
        self._size = controller.size  # of the next
        self._anchors: dict[int, messages.EngineInfo] = {}  # one on each host; the first one spawns
        self._asked: tuple[Session, messages.Query] | None = None
        self._leaving: dict[int, messages.EngineInfo] = {}  # engines of the last one that are not gone yet
        self._kill_at = self._deadline = self._settled = 0.0
        self._killed: set[int] = set()
        self._supervised = False  # whether the supervisor starts the next one
        self._why = ""  # in words, of the tasks that end
        if self.spawns:
            controller.replacement.await_first(list(range(controller.size)))

    @property
    def busy(self) -> bool:
        """Whether one ends or begins."""
        return self._due

    @property
    def advice(self) -> str:
        """Return what a user can do to have all engines started anew."""
        spawning = self.anchored and self.controller.facts["fault_tolerance"]["restarts"]
        can = spawning or self.controller.succession.possible
        return "rc.restart() of all engines" if can else "'mpidirect stop' and 'mpidirect start'"

    @property
    def anchored(self) -> bool:
        """Whether there is an anchor."""
        return ANCHOR in self._anchors

    def anchor_joined(self, joined: messages.EngineHello) -> None:
        """An anchor has connected."""
        self._anchors[joined.engine] = messages.EngineInfo(joined.engine, joined.host, joined.pid)
        if joined.engine == ANCHOR:
            self.controller.replacement.told(ANCHOR, messages.EnginesSpawned())  # the first ones

    def anchor_lost(self, anchor: int) -> None:
        """An anchor is gone: if it was the first one, an engine spawns what is spawned from now on."""
        if self._anchors.pop(anchor, None) is None or anchor != ANCHOR or self.controller.stopping:
            return
        log.error("the process that starts engines is gone: all of them can't be started anew any more")
        if self._due:
            self.fail(
                "the process that starts engines died meanwhile: 'mpidirect stop' and 'mpidirect start'"
            )

    def end_anchor(self) -> None:
        """MPI does not come back there."""
        if self.anchored:
            exit_status.end(self._anchors[ANCHOR])
            self.anchor_lost(ANCHOR)

    def end_process(self, engine: messages.EngineInfo) -> None:
        """Kill an engine, whatever it does: on another host the anchor there does it."""
        exit_status.end(engine)
        for anchor, info in self._anchors.items():
            if anchor != ANCHOR and info.host == engine.host:
                self._send(anchor, messages.KillProcess(engine.pid))

    def stop_anchors(self) -> None:
        """Tell them to leave."""
        for anchor in self._anchors:
            self._send(anchor, messages.Stop())

    def _send(self, anchor: int, message: messages.Message) -> None:
        self.controller.link.send_task(anchor, [messages.encode(message)])

    def ask(self, session: Session, query: messages.Query, size: int) -> None:
        """End all engines, and start so many others."""
        controller = self.controller
        supervised = controller.succession.possible
        if not supervised and not (controller.facts["fault_tolerance"]["restarts"] and self.anchored):
            raise ReplacementRefused(
                "engines can't all be started anew with this MPI, or as it was started. Save what you need, "
                "then 'mpidirect stop' and 'mpidirect start'"
            )
        if self._due or controller.succession.awaits_engines or controller.replacement.excludes:
            raise ReplacementRefused("engines are being started just now: try again in a moment")
        call = "rc.restart()" if size == controller.size else f"rc.resize({size})"
        controller.replacement.cancel(f"{call} ends all engines")
        self._asked, self._due, self._size = (session, query), True, size
        self._leaving = {info.id: info for info in controller.living()}
        self._killed.clear()
        self._supervised = supervised
        for engine in self._leaving:
            controller.send_control(engine, messages.Stop())
            controller.link.send_task(engine, [messages.encode(messages.Stop())])
        now = time.monotonic()
        self._kill_at, self._settled = now + ASKED, now
        self._why = f"was ended by {call}, which replaces all engines"
        controller.retire(self._why)

    def departed(self, engine: int) -> None:
        """The connection of an engine has closed."""
        if self._leaving.pop(engine, None) is not None:
            self._settled = time.monotonic() + NOTED

    def look(self) -> None:
        """Do what is due."""
        if not self._due or self.controller.stopping:
            return
        now = time.monotonic()
        if self._leaving:
            self._see_off(now)
        elif self._supervised:
            self._hand_over()
        elif self.anchored and self._noted(now):
            self._begin()

    def _see_off(self, now: float) -> None:
        if self._killed and now > self._deadline and self._supervised:
            self._leaving.clear()  # the supervisor ends them, by the MPI launcher
        elif self._killed and now > self._deadline:
            where = ", ".join(f"process {e.pid} on {e.host}" for e in self._leaving.values())
            self.fail(f"these could not be ended from here: {where}. Kill them, and try again")
        elif now > self._kill_at:
            for engine, info in self._leaving.items():
                if engine not in self._killed:
                    self._killed.add(engine)
                    self._deadline = now + (
                        HANGING if self._supervised else KILLED
                    )  # from now on: this host may have been stopped meanwhile
                    self.controller.end(info)

    def _hand_over(self) -> None:
        """Leave the next generation to another controller, which the supervisor starts."""
        asker, query = (self._asked[0].name, self._asked[1].id) if self._asked else (b"", "")
        self.controller.succession.begin(asker, query, self._size, f"each engine {self._why}")

    def _noted(self, now: float) -> bool:
        """Whether the guards have noted how engines ended: later they would tell it of the new ones."""
        logs: Path = self.controller.logs
        return now > self._settled or (
            bool(self._killed) and all(exit_status.verdict(logs, engine) for engine in self._killed)
        )

    def _begin(self) -> None:
        self._due = False
        asked, self._asked = self._asked, None
        controller = self.controller
        if controller.size != self._size:
            log.info("from %d engines to %d", controller.size, self._size)
            controller.size = self._size
            controller.lost = {id: why for id, why in controller.lost.items() if id < self._size}
        controller.replacement.start(list(range(self._size)), asked, STARTING)

    def fail(self, why: str) -> None:
        """Answer that engines are not started anew, and why."""
        log.error("engines are not started anew: %s", why)
        self._due, self._leaving = False, {}
        if self._asked is not None:
            session, query = self._asked
            session.tell(messages.Answer, query.id, None, why)
