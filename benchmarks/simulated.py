"""A controller without a cluster: the real code, and in the place of sockets and MPI a simulated transport.

What is simulated are `SimulatedLink` (the sockets to the engines), `SimulatedTransfer` (MPI) and
`SimulatedClient` (the socket to a client).  Their engines answer at once.  All else is what runs in a
cluster: the controller's loop, its queues, sessions and uploads, and the encoding and decoding of every
message.
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
PIECE = bytes(messages.CHUNK)  # what every bulk chunk holds


class SimulatedListener:
    """What the controller reads from: messages, each a list of frames; no connection ever ends."""

    waiting = departures = False

    def __init__(self) -> None:
        self.descriptors = [self]
        self.coming: deque[list[bytes]] = deque()
        self._frames: Sequence[bytes] = ()

    def next(self) -> Sequence[bytes]:
        """The next message."""
        if not self.coming:
            raise Empty
        return self.coming.popleft()

    def readable(self) -> bool:
        """Whether there is one."""
        return bool(self.coming)

    def first(self, *, wait: bool = False) -> bytes:
        """Its next frame: who sent it, then the header."""
        first, *self._frames = self._frames or self.next()
        return first

    def rest(self, *, copied: bool = True) -> list[bytes]:
        """What follows."""
        frames, self._frames = self._frames, ()
        return list(frames)

    def number(self) -> int:
        """The connection that it came by."""
        self.rest()
        return 0

    def departed(self) -> list[int]:
        """The connections that have ended."""
        return []


class SimulatedLink(SimulatedListener):
    """The engines' sockets: what is sent there is answered when the socket is read next."""

    def __init__(self) -> None:
        super().__init__()
        self.listeners = [self]
        self.answer: list[bytes] = []  # of every engine

    def send_task(self, engine: int, frames: Sequence[Any]) -> None:
        """An engine has a task."""
        self.coming.append([task_name(engine), *self.answer])

    def send_order(self, engine: int, message: messages.Message) -> None:
        """Send something that engines do not answer."""

    def send_control(self, engine: int, message: messages.Message) -> None:
        """Send something that engines do not answer."""

    def joined(self, name: bytes, engine: int, listener: Any, number: int) -> bool:
        """Each has one connection."""
        return True

    def departed(self, listener: Any = None) -> list[int]:
        """None ever ends."""
        return []

    def engine_of(self, name: bytes) -> int:
        """Whose connection this is."""
        return engine_of(name)


class SimulatedTransfer:
    """MPI: sends are complete at once, and what an engine sends is there."""

    def __init__(self) -> None:
        self.can_broadcast = True  # as between hosts
        self.busy = self.active = False

    def send(self, engine: int, pieces: Sequence[Any]) -> None:
        """Point to point."""

    def broadcast(self, pieces: Sequence[Any]) -> None:
        """A collective."""

    def receive(self, engine: int, sizes: Sequence[int], then: Callable[[Any], None]) -> None:
        """Bulk of a result: all engines send the same."""
        view = memoryview(PIECE)
        then([view[: stop - start] for size in sizes for start, stop in messages.chunks(size)])


class SimulatedClient(SimulatedListener):
    """A client's socket; also the client itself: it numbers and acknowledges, as a real one does."""

    name = CLIENT

    def __init__(self) -> None:
        super().__init__()
        self.going: list[Any] = []
        self._numbers = itertools.count(1)
        self._seen = 0

    def say(self, header: bytes, frames: Sequence[bytes] = ()) -> None:
        """The client sends something."""
        self.coming.append([self.name, header, *frames])

    def post(self, kind: type[messages.Numbered], *fields: Any, frames: Sequence[bytes] = ()) -> None:
        """The client sends a numbered message."""
        self.say(messages.encode(kind(next(self._numbers), self._seen, *fields)), frames)

    def take(self) -> int:
        """The client reads what has come and acknowledges it; returns how many replies there were."""
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
        """Something for the client."""
        self.going.append(frames)


class SimulatedAuthenticator:
    """Nobody ever asks about a key."""

    def __init__(self) -> None:
        self.socket = self

    def fileno(self) -> int:
        """The descriptor of the socket that it is asked by."""
        return -1

    def answer(self) -> None:
        """Answer all questions."""


class Simulation:
    """A controller with `n` engines and a client.

    Parameters
    ----------
    n : int
        How many.
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
        """A client asks all engines; `shared` and `results` are the sizes of the frames there and back."""
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
        """One turn of the controller, with whatever waits."""
        ready: list[Any] = [socket for socket in (self.client, self.link) if socket.coming]
        self.controller.turn(ready)

    @property
    def turns(self) -> int:
        """More turns than a request can take."""
        return 100 + 10 * self.n // MESSAGES_PER_LISTENER
