"""The engines' connections to the controller: two from each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import zmq

from ..wire.frames import Router
from ..wire.names import control_name, engine_of, is_anchor, task_name
from .door import Door


class EngineLink:
    """Where the engines' connections end; notices at once when one closes.

    Parameters
    ----------
    tasks, control : Router or Door
        For the connections of their main threads, and of their control threads; may be the same.
    """

    def __init__(self, tasks: Router | Door, control: Router | Door) -> None:
        self.tasks = tasks
        self.control = control
        self.doors = [control] if tasks is control else [tasks, control]
        self._engines: dict[tuple[Any, int], int] = {}  # by connection
        self._connections: dict[int, set[bytes]] = {}

    def joined(self, name: bytes, engine: int, door: Router | Door, descriptor: int) -> bool:
        """A connection of an engine is there; whether it is its last."""
        self._engines[door, descriptor] = engine
        connections = self._connections.setdefault(engine, set())
        connections.add(name)
        return len(connections) == (1 if is_anchor(engine) else 2)

    def engine_of(self, name: bytes) -> int:
        """Whose connection this is."""
        return engine_of(name)

    def departed(self, door: Router | Door) -> list[int]:
        """The engines whose connections have closed at this door since the last call."""
        gone = []
        for descriptor in door.departed():
            engine = self._engines.pop((door, descriptor), None)
            if engine is not None:
                self._connections.pop(engine, None)
                # its other one may close later, when a new engine has come in its place
                others = [key for key, whose in self._engines.items() if whose == engine]
                for key in others:
                    del self._engines[key]
                gone.append(engine)
        return gone

    def send_task(self, engine: int, frames: Sequence[Any]) -> None:
        """Send to the engine's main thread."""
        self._send(self.tasks, task_name(engine), frames)

    def send_control(self, engine: int, data: bytes) -> None:
        """Send to the engine's control thread."""
        self._send(self.control, control_name(engine), [data])

    def _send(self, door: Router | Door, name: bytes, frames: Sequence[Any]) -> None:
        try:
            door.send_to(name, frames)
        except zmq.ZMQError as e:
            if e.errno != zmq.EHOSTUNREACH:  # its end is on its way
                raise

    def close(self) -> None:
        """Close the connections."""
        for door in self.doors:
            door.close(500)
