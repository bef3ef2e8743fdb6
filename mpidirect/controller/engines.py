"""The engines' connections to the controller: one socket here, two connections from each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from ..wire.frames import Socket
from ..wire.names import control_name, engine_of, task_name


class EngineLink:
    """A bound ROUTER that knows its engines, and notices at once when one's connection closes."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self.monitor.setsockopt(zmq.LINGER, 0)
        self.sockets = [self.socket, self.monitor]
        self._by_descriptor: dict[int, int] = {}
        self._connections: dict[int, set[bytes]] = {}

    def joined(self, name: bytes, engine: int, descriptor: int) -> bool:
        """A connection of an engine is there; whether it is its last."""
        self._by_descriptor[descriptor] = engine
        connections = self._connections.setdefault(engine, set())
        connections.add(name)
        return len(connections) == 2

    def engine_of(self, name: bytes) -> int:
        """Whose connection this is."""
        return engine_of(name)

    def departed(self) -> list[int]:
        """The engines whose connections have closed since the last call."""
        gone = []
        while self.monitor.poll(0):
            event = recv_monitor_message(self.monitor)
            engine = self._by_descriptor.pop(event["value"], None)
            if engine is not None:
                self._connections.pop(engine, None)
                # its other one may close later, when a new engine has come in its place
                others = [d for d, whose in self._by_descriptor.items() if whose == engine]
                for descriptor in others:
                    del self._by_descriptor[descriptor]
                gone.append(engine)
        return gone

    def send_task(self, engine: int, frames: Sequence[Any]) -> None:
        """Send to the engine's main thread."""
        self._send(task_name(engine), frames)

    def send_control(self, engine: int, data: bytes) -> None:
        """Send to the engine's control thread."""
        self._send(control_name(engine), [data])

    def _send(self, name: bytes, frames: Sequence[Any]) -> None:
        try:
            self.socket.put([name, *frames])
        except zmq.ZMQError as e:
            if e.errno != zmq.EHOSTUNREACH:  # its end is on its way through the monitor
                raise

    def close(self) -> None:
        """Close the sockets."""
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(linger=500)
