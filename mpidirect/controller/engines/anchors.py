"""The anchors: processes that start engines, and end engine processes on their hosts."""

from __future__ import annotations

import logging
import os
import signal

from ...job import processes
from ...job.variables import CLUSTER
from ...protocol import messages
from ...protocol.names import ANCHOR
from . import exit_status
from .links import EngineMessenger
from .shutdown import Shutdown

log = logging.getLogger(__name__)


class Anchors:
    """The anchors of all hosts. The first anchor spawns engines; the others only end processes.

    An anchor is a rank that does nothing else. So no other process waits while MPI starts engines, and if
    MPI never returns from a spawn, only the anchor is lost.
    """

    def __init__(self, link: EngineMessenger, shutdown: Shutdown) -> None:
        self._link = link
        self._shutdown = shutdown
        self._anchors: dict[int, messages.EngineInfo] = {}

    @property
    def can_spawn(self) -> bool:
        """Return whether the first anchor is alive."""
        return ANCHOR in self._anchors

    def joined(self, hello: messages.EngineHello) -> None:
        """Note that an anchor has connected."""
        self._anchors[hello.engine] = messages.EngineInfo(hello.engine, hello.host, hello.pid)

    def lost(self, anchor: int) -> None:
        """Note that an anchor is dead. Without the first one, an engine spawns from now on."""
        if self._anchors.pop(anchor, None) and anchor == ANCHOR and not self._shutdown.begun:
            log.error("the process that starts engines is gone: all of them can't be started anew any more")

    def kill_spawner(self) -> None:
        """Kill the first anchor: MPI does not return from a spawn there."""
        if self.can_spawn:
            exit_status.kill(self._anchors[ANCHOR])
            self.lost(ANCHOR)

    def kill_engine(self, engine: messages.EngineInfo) -> None:
        """Kill an engine: by its control thread, from here, or by the anchor of its host."""
        self._link.send_control(engine.id, messages.Signal(signal.SIGKILL))
        exit_status.kill(engine)
        for anchor, info in self._anchors.items():
            if anchor != ANCHOR and info.host == engine.host:
                self._link.send_order(anchor, messages.KillProcess(engine.pid))

    def end_spawn(self, number: int) -> None:
        """End the processes of a spawn whose spawner is gone: they would wait for it in MPI for ever."""
        processes.end_spawn(os.environ.get(CLUSTER, ""), number)
        for anchor in self._anchors:
            if anchor != ANCHOR:
                self._link.send_order(anchor, messages.EndSpawn(number))

    def stop(self) -> None:
        """Tell the anchors to leave."""
        for anchor in self._anchors:
            self._link.send_order(anchor, messages.Stop())
