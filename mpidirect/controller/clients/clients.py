"""The clients: their connections and their messages."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from ... import _version
from ...memory import process_memory
from ...protocol import messages
from ...protocol.frames import Frame
from ...transport.base import Listener
from ..engine_registry import EngineRegistry
from ..idleness import Idleness
from ..sessions.retained_results import RetainedResults
from ..sessions.retention import Retention
from ..sessions.session import Session
from ..sessions.sessions import Sessions
from .debuggers import Debuggers
from .queries import Queries
from .requests import Requests

log = logging.getLogger(__name__)

REPLY_DELAY = 0.002  # seconds that replies wait for other replies, to travel in one message


class Clients:
    """Receives the messages of clients."""

    def __init__(
        self,
        facts: Mapping[str, Any],
        sessions: Sessions,
        requests: Requests,
        queries: Queries,
        registry: EngineRegistry,
        retention: Retention,
        retained: RetainedResults,
        idleness: Idleness,
        debuggers: Debuggers,
    ) -> None:
        self.sessions = sessions
        self._facts = facts
        self._requests = requests
        self._queries = queries
        self._registry = registry
        self._retention = retention
        self._retained = retained
        self._idleness = idleness
        self._debuggers = debuggers
        self._connections: dict[tuple[Listener, int], Session] = {}
        self._waiting_since = 0.0  # the arrival of the first reply that waits for others; 0 if none waits
        self._memory_domain = process_memory.domain()

    # -- methods that the event loop calls --------------------------------------------------------

    def receive(self, listener: Listener, name: bytes) -> None:
        """Take the rest of a message from the client `name`."""
        try:
            message = messages.decode_from_client(listener.first())
        except messages.MalformedMessage as e:
            log.warning("dropped a malformed message of client %r: %s", name, e)
            listener.rest()
            return
        try:
            if isinstance(message, messages.Hello):
                self.departed(listener)  # an older connection may have had the same number
                self._welcome(listener, name, message, listener.number())
                return
            frames = listener.rest(copied=not isinstance(message, messages.Chunk))
            session = self.sessions.get(name)
            if session is None:
                self._refuse(listener, name, "this controller does not know this client")
                return
            self._dispatch(session, message, frames)
        except (LookupError, ValueError) as e:
            log.warning("client %r broke the protocol: %s", name, e)
            self._refuse(listener, name, f"protocol error: {e}")

    def departed(self, listener: Listener) -> None:
        """Note that connections have closed: their clients are away."""
        for number in listener.departed():
            session = self._connections.pop((listener, number), None)
            if session is not None and session not in self._connections.values():
                session.disconnect()

    @property
    def replies_wait(self) -> bool:
        """Return whether replies wait for others."""
        return bool(self._waiting_since)

    def flush(self) -> None:
        """Send the replies that complete a request, and those that have waited for others long enough."""
        since, self._waiting_since = self._waiting_since, 0.0
        for session in self.sessions.values():
            if session.has_replies:
                if not session.urgent:
                    now = time.monotonic()
                    since = since or now
                    if now - since < REPLY_DELAY:
                        self._waiting_since = since
                        continue
                session.flush()

    def enforce_limits(self) -> None:
        """Drop what exceeds the limits: incomplete requests, debuggers, results, and empty sessions."""
        self._requests.give_up_partial()
        self._debuggers.look()
        self._retention.enforce(self.sessions.values())
        for session in self._retention.forgettable(self.sessions.values()):
            self._forget(session)

    def farewell(self, reason: str) -> None:
        """Tell the clients that the controller leaves."""
        header = messages.encode(messages.Farewell(reason))
        for session in self.sessions.values():
            session.flush()
            session.send([header])

    # -- clients that connect and leave -----------------------------------------------------------

    def _welcome(self, listener: Listener, name: bytes, hello: messages.Hello, number: int) -> None:
        """Accept a client, for the first time or after a break of its connection."""
        if hello.protocol != messages.PROTOCOL:
            mine = f"mpidirect {_version.__version__}, protocol {messages.PROTOCOL}"
            theirs = f"mpidirect {hello.version}, protocol {hello.protocol}"
            self._refuse(listener, name, f"version: the cluster has {mine}, this client {theirs}")
            return
        session = self.sessions.get(name)
        resumes = session is not None and hello.resumes
        if session is None or not hello.resumes:
            if session is not None:
                self._requests.client_left(session)
            session = self.sessions[name] = Session(name)
            session.process = self._readable_process(hello.memory)
            session.directory = hello.directory
            session.process_name = hello.process or session.process_name
        self._connections[listener, number] = session
        session.listener = listener
        welcome = messages.Welcome(
            messages.PROTOCOL,
            _version.__version__,
            self._facts["python"],
            self._facts["cluster"],
            self._registry.size,
            self._registry.in_order(),
            session.inbox.last,
            resumes,
            self._current_facts(),
            bool(session.process),
            process_memory.node(),
            self._registry.lost,
            self._registry.starting,
        )
        if session.send([messages.encode(welcome)]):
            session.connect(listener, hello.received)
            session.send_due()

    def _current_facts(self) -> dict[str, Any]:
        """Return the facts, with times in seconds from now, because clients' clocks may differ."""
        facts = {
            **self._facts,
            "idle": self._idleness.seconds,
            "world": self._registry.world,
            "debuggers": self._debuggers.in_words(),
        }
        if ends := facts["ends"]:
            facts["time_left"] = max(0.0, ends - time.time())
        return facts

    def _readable_process(self, memory: messages.ReadableMemory | None) -> int:
        """Return the client's process if its memory can be read, else 0."""
        if memory is None or not self._memory_domain or memory.place != self._memory_domain:
            return 0
        readable = process_memory.can_read(memory.pid, memory.address, memory.cookie)
        return memory.pid if readable else 0

    def _refuse(self, listener: Listener, name: bytes, reason: str) -> None:
        refused = Session(name)
        refused.listener = listener
        refused.send([messages.encode(messages.Refused(reason))])

    def _leave(self, session: Session) -> None:
        """Take a client's goodbye. Its undelivered results stay for other clients that recall them."""
        session.disconnect()
        session.left = True
        self._requests.client_left(session)
        session.drop_output()
        if not session.open and session.outbox.oldest is None:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        self._requests.forget(session)
        del self.sessions[session.name]

    # -- messages ---------------------------------------------------------------------------------

    def _dispatch(self, session: Session, message: Any, frames: list[Frame]) -> None:
        """Hand a message to the part that handles it, unless the message came before."""
        session.acknowledged(message.ack)
        if isinstance(message, messages.Goodbye):
            self._leave(session)
        elif not isinstance(message, messages.Ack) and session.inbox.accept(
            message.seq, sum(len(frame) for frame in frames)
        ):
            if isinstance(message, messages.Query):
                self._queries.answer(session, message)
            elif isinstance(message, messages.Release):
                self._retained.release(message.id, message.engine, session)
            else:
                self._requests.receive(session, message, frames)
        if session.inbox.must_acknowledge:
            session.send([messages.encode(messages.Ack(session.inbox.acknowledged()))])
