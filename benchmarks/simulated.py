"""A controller without a cluster: the real code, with a simulated transport instead of sockets and MPI.

Simulated are `SimulatedLink` (the sockets to the engines), `SimulatedTransfer` (MPI) and `SimulatedClient`
(the socket to a client). Simulated engines reply at once. All other code is the code of a cluster: the
controller's loop, queues, sessions and uploads, and the encoding and decoding of every message.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from mpidirect.controller.controller import Controller
from mpidirect.controller.event_loop import MESSAGES_PER_LISTENER
from mpidirect.protocol import messages
from mpidirect.protocol.names import engine_of, task_name
from mpidirect.transport.base import Empty

CLIENT = b"client"
PIECE = bytes(messages.CHUNK)  # the content of every bulk chunk


class SimulatedListener:
    """The source of the controller's messages, each a list of frames; no connection ever ends."""

    waiting = departures = False

    def __init__(self) -> None:
        self.descriptors = [self]
        self.coming: deque[list[bytes]] = deque()
        self._frames: Sequence[bytes] = ()

    def next(self) -> Sequence[bytes]:
        """Return the next message."""
        if not self.coming:
            raise Empty
        return self.coming.popleft()

    def readable(self) -> bool:
        """Whether a message waits."""
        return bool(self.coming)

    def first(self, *, wait: bool = False) -> bytes:
        """Return the next frame of the message: the sender's name, then the header."""
        first, *self._frames = self._frames or self.next()
        return first

    def rest(self, *, copied: bool = True) -> list[bytes]:
        """Return the remaining frames."""
        frames, self._frames = self._frames, ()
        return list(frames)

    def number(self) -> int:
        """Return the number of the message's connection."""
        self.rest()
        return 0

    def departed(self) -> list[int]:
        """Return the connections that have ended."""
        return []


class SimulatedLink(SimulatedListener):
    """The engines' sockets: the next read returns the replies to the sent messages."""

    def __init__(self) -> None:
        super().__init__()
        self.listeners = [self]
        self.answer: list[bytes] = []  # the reply of every engine

    def send_task(self, engine: int, frames: Sequence[Any]) -> None:
        """Send a task to an engine."""
        self.coming.append([task_name(engine), *self.answer])

    def send_order(self, engine: int, message: messages.Message) -> None:
        """Send a message to which engines do not reply."""

    def send_control(self, engine: int, message: messages.Message) -> None:
        """Send a message to which engines do not reply."""

    def joined(self, name: bytes, engine: int, listener: Any, number: int) -> bool:
        """Return that the engine has all its connections: simulated engines have one."""
        return True

    def departed(self, listener: Any = None) -> list[int]:
        """Return that no connection has ended."""
        return []

    def engine_of(self, name: bytes) -> int:
        """Return the engine of a connection."""
        return engine_of(name)


class SimulatedTransfer:
    """MPI: sends are complete at once, and data of engines is available at once."""

    def __init__(self) -> None:
        self.can_broadcast = True  # as between hosts
        self.busy = self.active = False

    def send(self, engine: int, pieces: Sequence[Any]) -> None:
        """Send point to point."""

    def broadcast(self, pieces: Sequence[Any]) -> None:
        """Send by a collective."""

    def receive(self, engine: int, sizes: Sequence[int], then: Callable[[Any], None]) -> None:
        """Receive bulk data of a result; all engines send the same data."""
        view = memoryview(PIECE)
        then([view[: stop - start] for size in sizes for start, stop in messages.chunks(size)])


class SimulatedClient(SimulatedListener):
    """A client and its socket; it numbers and acknowledges messages, as a real client does."""

    name = CLIENT

    def __init__(self) -> None:
        super().__init__()
        self.going: list[Any] = []
        self._numbers = itertools.count(1)
        self._seen = 0

    def say(self, header: bytes, frames: Sequence[bytes] = ()) -> None:
        """Send a message of the client."""
        self.coming.append([self.name, header, *frames])

    def post(self, kind: type[messages.Numbered], *fields: Any, frames: Sequence[bytes] = ()) -> None:
        """Send a numbered message of the client."""
        self.say(messages.encode(kind(next(self._numbers), self._seen, *fields)), frames)

    def take(self) -> int:
        """Let the client read and acknowledge the messages; return the number of replies."""
        replies, going, self.going = 0, self.going, []
        for frames in going:
            message = messages.decode_from_controller(bytes(frames[0]))
            if isinstance(message, messages.Numbered):
                self._seen = message.seq
            if isinstance(message, messages.Results):
                replies += len(message.replies)
                wrong = [reply.status for reply in message.replies if reply.status != "ok"]
                assert not wrong, wrong
        if going:
            self.say(messages.encode(messages.Ack(self._seen)))
        return replies

    def send_to(self, name: bytes, frames: Sequence[Any]) -> None:
        """Take a message for the client."""
        self.going.append(frames)


class SimulatedAuthenticator:
    """An authenticator that is never asked about a key."""

    def __init__(self) -> None:
        self.socket = self

    def fileno(self) -> int:
        """Return the descriptor of the socket for requests."""
        return -1

    def answer(self) -> None:
        """Answer all requests."""


class Simulation:
    """A controller with `n` engines and a client.

    Parameters
    ----------
    n : int
        The number of engines.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.link, self.transfer, self.client = SimulatedLink(), SimulatedTransfer(), SimulatedClient()
        facts = {
            "cluster": "simulated",
            "python": "3",
            "logs": "/nonexistent",
            "fault_tolerance": dict.fromkeys(("deaths", "replaces", "restarts", "revokes"), False),
            "world": "",
            "ends": None,
            "spawns": False,
        }
        parts: list[Any] = [[self.client], self.link, self.transfer, SimulatedAuthenticator()]
        self.controller = Controller(*parts, facts, n)
        self._ids = itertools.count(1)
        for engine in range(n):
            joined = messages.EngineHello(
                engine, f"node{engine // 64}", 1000 + engine, "", f"node{engine // 64}"
            )
            self.link.coming.append([task_name(engine), messages.encode(joined), b""])
        while self.link.coming:
            self.controller.turn([self.link])  # type: ignore[list-item]
        hello = messages.Hello(messages.PROTOCOL, "", "3")
        self.client.say(messages.encode(hello), [b""])
        self.turn()
        self.client.take()

    def request(self, op: str, shared: Sequence[int], results: Sequence[int]) -> None:
        """Send a request to all engines; `shared` and `results` are sizes of frames."""
        id = f"{CLIENT.decode()}-{next(self._ids)}"
        done = messages.TaskDone(id, "ok", list(results), 1.0, 2.0)
        small = [bytes(size) for size in results if size < messages.BULK]
        self.link.answer = [messages.encode(done), *small]
        small = [bytes(size) for size in shared if size < messages.BULK]
        self.client.post(messages.Request, id, list(range(self.n)), op, op, list(shared), frames=small)
        for size in shared:
            if size >= messages.BULK:
                for start, stop in messages.chunks(size):
                    self.client.post(messages.Chunk, frames=[PIECE[: stop - start]])

    def turn(self) -> None:
        """Run one turn of the controller, with all waiting messages."""
        ready: list[Any] = [socket for socket in (self.client, self.link) if socket.coming]
        self.controller.turn(ready)

    @property
    def turns(self) -> int:
        """Run more turns than a request can need."""
        return 100 + 10 * self.n // MESSAGES_PER_LISTENER
