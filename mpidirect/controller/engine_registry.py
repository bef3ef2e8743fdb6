"""The engines of the cluster: which are alive, where they run, and why others are not alive."""

from __future__ import annotations

import logging

from ..memory import process_memory
from ..mpi.fault_tolerance import lost_c_world
from ..protocol import messages

log = logging.getLogger(__name__)


class EngineRegistry:
    """What the controller knows of the engines.

    Parameters
    ----------
    size : int
        The number of engines when all are alive.
    world : str
        A description of ``MPI_COMM_WORLD``, valid until an engine dies.

    Attributes
    ----------
    alive : dict of int to EngineInfo
        The engines that can get tasks, by id.
    lost : dict of int to str
        Why an engine is not alive.
    hints : dict of int to str
        For an engine that is not alive, what its users can do.
    notice : str
        What the clients are to show with the next announcement; empty if there is nothing.
    starting : float
        Seconds within which all engines are started anew; 0 if no restart is under way.
    c_world_loss : str
        Why C code can't use ``MPI_COMM_WORLD`` any more; empty if it can.
    """

    def __init__(self, size: int, world: str = "") -> None:
        self.size = size
        self.c_world_loss = ""
        self._world = world
        self.alive: dict[int, messages.EngineInfo] = {}
        self.lost: dict[int, str] = {}
        self.hints: dict[int, str] = {}
        self.notice = ""
        self.starting = 0.0
        self._memory_domain = process_memory.domain()
        self._memory_domains: dict[int, str] = {}
        self._placements: dict[int, messages.EnginePlaced] = {}
        self._nodes = {process_memory.node(): 0}  # the numbers of the nodes; the controller's node is 0

    @property
    def world(self) -> str:
        """Return a description of the present ``MPI_COMM_WORLD``."""
        return lost_c_world(self.c_world_loss) if self.c_world_loss else self._world

    def lose_c_world(self, reason: str) -> None:
        """Note why C code can't use ``MPI_COMM_WORLD`` any more; the first reason stays."""
        self.c_world_loss = self.c_world_loss or reason

    def hint_for(self, ename: str, engine: int) -> str:
        """Return what a user can do after an error of an engine; empty if there is nothing to say."""
        return self.hints.get(engine, "") if ename == "EngineError" else ""

    def tell_of_c_world(self) -> None:
        """Have the clients show that the world in C can't be used: no error of a call tells it."""
        self.notice = f"{self.world}."

    def add(self, hello: messages.EngineHello) -> None:
        """Note that an engine is alive, at the start or as a replacement."""
        engine = hello.engine
        node = self._nodes.setdefault(hello.node, len(self._nodes))
        self.alive[engine] = messages.EngineInfo(engine, hello.host, hello.pid, node)
        self._memory_domains[engine] = hello.place
        self._apply_placement(engine)
        self.lost.pop(engine, None)
        self.hints.pop(engine, None)
        if len(self.alive) == self.size:
            log.info("all %d engines are there", self.size)

    def place(self, engine: int, placement: messages.EnginePlaced) -> bool:
        """Note an engine's local rank and device; return whether the information for clients changed."""
        self._placements[engine] = placement
        return engine in self.alive and self._apply_placement(engine)

    def _apply_placement(self, engine: int) -> bool:
        info, placement = self.alive[engine], self._placements.get(engine)
        if placement is None:
            return False
        before = info.local_rank, info.device
        info.local_rank, info.device = placement.local_rank, placement.device
        return before != (info.local_rank, info.device)

    def resize(self, size: int) -> None:
        """Change the number of engines, while none is alive."""
        log.info("from %d engines to %d", self.size, size)
        self.size = size
        self.lost = {engine: why for engine, why in self.lost.items() if engine < size}

    def in_order(self) -> list[messages.EngineInfo]:
        """Return the living engines, by id."""
        return [self.alive[engine] for engine in sorted(self.alive)]

    def why_missing(self, engine: int) -> str:
        """Return why an engine is not alive."""
        return self.lost.get(engine, f"there is no engine {engine}")

    def share_memory(self, engines: list[int]) -> bool:
        """Return whether this process, its local clients and these engines can read each other's memory."""
        domain = self._memory_domain
        return bool(domain) and all(self._memory_domains.get(engine) == domain for engine in engines)
