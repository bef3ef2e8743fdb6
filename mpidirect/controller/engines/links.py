"""The engines' connections to the controller: two from each."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from ...protocol.names import control_name, engine_of, is_anchor, task_name
from ...transport.base import Listener, Unreachable


class EngineLink:
    """Where the engines' connections end; notices at once when one closes.

    Parameters
    ----------
    tasks, control : Listener
        For the connections of their main threads, and of their control threads; may be the same.
    """

    def __init__(self, tasks: Listener, control: Listener) -> None:
        self.tasks = tasks
        self.control = control
        self.listeners = [control] if tasks is control else [tasks, control]
        self._engines: dict[tuple[Listener, int], int] = {}  # by connection
        self._connections: dict[int, set[bytes]] = {}

    def joined(self, name: bytes, engine: int, listener: Listener, number: int) -> bool:
        """A connection of an engine is there; whether it is its last."""
        self._engines[listener, number] = engine
        connections = self._connections.setdefault(engine, set())
        connections.add(name)
        return len(connections) == (1 if is_anchor(engine) else 2)

    def engine_of(self, name: bytes) -> int:
        """Whose connection this is."""
        return engine_of(name)

    def departed(self, listener: Listener) -> list[int]:
        """The engines whose connections have closed at this listener since the last call."""
        gone = []
        for number in listener.departed():
            engine = self._engines.pop((listener, number), None)
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

    def _send(self, listener: Listener, name: bytes, frames: Sequence[Any]) -> None:
        with contextlib.suppress(Unreachable):  # the news of its end is on its way
            listener.send_to(name, frames)

    def close(self) -> None:
        """Close the connections."""
        for listener in self.listeners:
            listener.close(500)
