"""The anchors: processes that start engines, and kill engine processes on their hosts."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable

from ...job import processes
from ...job.signals import send_signal
from ...job.variables import CLUSTER
from ...protocol import messages
from ...protocol.names import ANCHOR
from .links import EngineMessenger
from .shutdown import Shutdown

log = logging.getLogger(__name__)


class Anchors:
    """The anchors of all hosts. The first anchor spawns engines; the others only end processes.

    An anchor is a rank that does nothing else. So no other process waits while MPI starts engines. If MPI
    never returns from a spawn, only the anchor is lost.
    """

    def __init__(self, link: EngineMessenger, shutdown: Shutdown) -> None:
        self._link = link
        self._shutdown = shutdown
        self._anchors: dict[int, messages.EngineInfo] = {}
        self.start: Callable[[], None] | None = None  # starts the first anchor anew

    @property
    def can_spawn(self) -> bool:
        """Return whether the first anchor is alive."""
        return ANCHOR in self._anchors

    def joined(self, hello: messages.EngineHello) -> None:
        """Note that an anchor has connected."""
        self._anchors[hello.engine] = messages.EngineInfo(hello.engine, hello.host, hello.pid)

    def lost(self, anchor: int) -> None:
        """Note that an anchor is dead. If the first anchor is dead, an engine spawns from now on."""
        if self._anchors.pop(anchor, None) and anchor == ANCHOR and not self._shutdown.begun:
            log.error("the process that starts engines is gone")

    def kill_spawner(self) -> None:
        """Kill the first anchor, in which MPI does not return from a spawn."""
        if self.can_spawn:
            self.signal(self._anchors[ANCHOR], signal.SIGKILL)
            self.lost(ANCHOR)

    def kill_engine(self, engine: messages.EngineInfo) -> None:
        """Kill an engine: by its control thread, from this process, or by the anchor of its host."""
        self._link.send_control(engine.id, messages.Signal(signal.SIGKILL))
        self.signal(engine, signal.SIGKILL)

    def signal(self, engine: messages.EngineInfo, signum: int) -> bool:
        """Send a signal to an engine, from here or by an anchor. Return whether a process could send it."""
        if signal_here(engine, signum):
            return True
        anchors = [k for k, info in self._anchors.items() if k != ANCHOR and info.host == engine.host]
        for anchor in anchors:
            self._link.send_order(anchor, messages.SignalProcess(engine.pid, signum))
        return bool(anchors)

    def examine(self, host: str, order: messages.ExamineProcesses) -> bool:
        """Have an anchor of a host examine engines there; return whether the host has an anchor."""
        anchor = next((k for k, info in self._anchors.items() if info.host == host), None)
        if anchor is not None:
            self._link.send_order(anchor, order)
        return anchor is not None

    def watch_join(self, port: str = "", new: int = 0) -> None:
        """Have the first anchor watch how new engines join at an MPI port; without a port, no longer."""
        if self.can_spawn:
            self._link.send_order(ANCHOR, messages.WatchJoin(port, new))

    def end_spawn(self, number: int) -> None:
        """End the processes of a spawn whose spawner is gone: in MPI they would wait for it for ever."""
        processes.end_spawn(os.environ.get(CLUSTER, ""), number)
        for anchor in self._anchors:
            if anchor != ANCHOR:
                self._link.send_order(anchor, messages.EndSpawn(number))

    def stop(self) -> None:
        """Tell the anchors to leave."""
        for anchor in self._anchors:
            self._link.send_order(anchor, messages.Stop())


def signal_here(engine: messages.EngineInfo, signum: int) -> bool:
    """Send a signal to a process of this host; return False if the process is on another host."""
    if engine.host != socket.gethostname():
        return False
    send_signal(engine.pid, signum)
    return True
