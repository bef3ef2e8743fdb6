"""The connections of the engines to the controller: two from each engine, one from each anchor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Protocol

from ...protocol import messages
from ...protocol.frames import Frame
from ...protocol.names import control_name, engine_of, is_anchor, task_name
from ...transport.base import Listener, Unreachable


class EngineMessenger(Protocol):
    """Sends messages to engines."""

    def send_task(self, engine: int, frames: Sequence[Frame], /) -> None:
        """Send a task to the engine's main thread."""

    def send_order(self, engine: int, message: messages.Message, /) -> None:
        """Send a message to the engine's main thread: the engine takes it after the tasks sent before."""

    def send_control(self, engine: int, message: messages.Message, /) -> None:
        """Send a message to the engine's control thread, which takes it at once."""


class EngineLink:
    """The listeners for the engines' connections; it notices closed connections.

    Parameters
    ----------
    tasks, control : Listener
        For the connections of the main threads and of the control threads; may be the same listener.
    """

    def __init__(self, tasks: Listener, control: Listener) -> None:
        self.tasks = tasks
        self.control = control
        self.listeners = [control] if tasks is control else [tasks, control]
        # engines by listener and number of the connection
        self._engines: dict[tuple[Listener, int], int] = {}
        self._connections: dict[int, set[bytes]] = {}

    def joined(self, name: bytes, engine: int, listener: Listener, number: int) -> bool:
        """Note a connection of an engine; return whether the engine has all its connections now."""
        self._engines[listener, number] = engine
        connections = self._connections.setdefault(engine, set())
        connections.add(name)
        return len(connections) == (1 if is_anchor(engine) else 2)

    def engine_of(self, name: bytes) -> int:
        """Return the engine of a connection."""
        return engine_of(name)

    def departed(self, listener: Listener) -> list[int]:
        """Return the engines whose connections at a listener have closed since the last call."""
        gone = []
        for number in listener.departed():
            engine = self._engines.pop((listener, number), None)
            if engine is not None:
                self._connections.pop(engine, None)
                # The engine's other connection may close later, when a new engine has the same id.
                others = [key for key, owner in self._engines.items() if owner == engine]
                for key in others:
                    del self._engines[key]
                gone.append(engine)
        return gone

    def send_task(self, engine: int, frames: Sequence[Frame]) -> None:
        """Send a task to the engine's main thread."""
        self._send(self.tasks, task_name(engine), frames)

    def send_order(self, engine: int, message: messages.Message) -> None:
        """Send a message to the engine's main thread: the engine takes it after the tasks sent before."""
        self._send(self.tasks, task_name(engine), [messages.encode(message)])

    def send_control(self, engine: int, message: messages.Message) -> None:
        """Send a message to the engine's control thread, which takes it at once."""
        self._send(self.control, control_name(engine), [messages.encode(message)])

    def _send(self, listener: Listener, name: bytes, frames: Sequence[Frame]) -> None:
        with contextlib.suppress(Unreachable):  # the listener will report the end of the engine
            listener.send_to(name, frames)

    def close(self) -> None:
        """Close the connections."""
        for listener in self.listeners:
            listener.close(500)


def send_stop(link: EngineMessenger, engines: Iterable[int]) -> None:
    """Tell engines to leave, on both connections."""
    for engine in engines:
        link.send_control(engine, messages.Stop())
        link.send_order(engine, messages.Stop())
