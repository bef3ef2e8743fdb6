"""The clients: who is there, who is away, and what each has said."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from ... import _version
from ...memory import process_memory
from ...protocol import messages
from ...transport.base import Listener
from ..sessions.session import Session, is_expired
from .queries import ANSWERS, LATER, BadQuery
from .requests import Requests

if TYPE_CHECKING:
    from ..controller import Controller

log = logging.getLogger(__name__)

TOGETHER = 0.002  # seconds that replies wait for their companions


class Clients:
    """The sessions of all clients.

    Parameters
    ----------
    controller : Controller
        What they ask for.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.sessions: dict[bytes, Session] = {}
        self.requests = Requests(controller)
        self._connections: dict[tuple[Listener, int], Session] = {}
        self._held_since = 0.0
        self._place = process_memory.domain()

    # -- what the loop calls ----------------------------------------------------------------------------

    def receive(self, listener: Listener, name: bytes) -> None:
        """Take in the rest of a message from the client `name`."""
        try:
            message = messages.decode_from_client(listener.first())
        except messages.MalformedMessage as e:
            log.warning("dropped a malformed message of client %r: %s", name, e)
            listener.rest()
            return
        try:
            if isinstance(message, messages.Hello):
                self.departed(listener)  # of them one may have had this number
                self._hello(listener, name, message, listener.number())
                return
            frames = listener.rest(copied=not isinstance(message, messages.Chunk))
            session = self.sessions.get(name)
            if session is None:
                self._refuse(listener, name, "this controller does not know this client")
                return
            self._heard(session, message, frames)
        except (LookupError, ValueError) as e:
            log.warning("client %r broke the protocol: %s", name, e)
            self._refuse(listener, name, f"protocol error: {e}")

    def departed(self, listener: Listener) -> None:
        """Connections have closed: their clients are away."""
        for number in listener.departed():
            session = self._connections.pop((listener, number), None)
            if session is not None and session not in self._connections.values():
                session.disconnect()

    @property
    def staging(self) -> bool:
        """Whether data is being read out of a client's memory."""
        return bool(self.requests.staging)

    @property
    def holds(self) -> bool:
        """Whether replies wait to go together."""
        return bool(self._held_since)

    def stage(self) -> None:
        """Go on with reading clients' data."""
        if self.staging:
            self.requests.stage()

    def flush(self) -> None:
        """Send the replies that are complete, or have waited for others long enough."""
        since, self._held_since = self._held_since, 0.0
        for session in self.sessions.values():
            if session.holds:
                if not session.ripe:
                    now = time.monotonic()
                    since = since or now
                    if now - since < TOGETHER:
                        self._held_since = since
                        continue
                session.flush()

    def forget_the_gone(self) -> None:
        """Drop what is kept for clients that are away, beyond the budget, and clients that need nothing."""
        self.requests.interrupted(list(self.sessions.values()))
        retention = self.controller.retention
        retention.enforce(self.sessions.values())
        for session in retention.bygone(self.sessions.values()):
            del self.sessions[session.name]

    def farewell(self, reason: str) -> None:
        """The controller leaves: tell all who are there."""
        for session in self.sessions.values():
            session.flush()
            session.send([messages.encode(messages.Farewell(reason))])

    # -- coming and going -----------------------------------------------------------------------------------

    def _hello(self, listener: Listener, name: bytes, hello: messages.Hello, number: int) -> None:
        if hello.protocol != messages.PROTOCOL:
            mine = f"mpidirect {_version.__version__}, protocol {messages.PROTOCOL}"
            theirs = f"mpidirect {hello.version}, protocol {hello.protocol}"
            self._refuse(listener, name, f"version: the cluster has {mine}, this client {theirs}")
            return
        session = self.sessions.get(name)
        resumes = session is not None and hello.resumes
        if session is None or not hello.resumes:
            session = self.sessions[name] = Session(name)
            session.process = self._process_of(hello.memory)
            session.directory = hello.directory
        self._connections[listener, number] = session
        session.listener = listener
        controller = self.controller
        welcome = messages.Welcome(
            messages.PROTOCOL,
            _version.__version__,
            controller.facts["python"],
            controller.facts["cluster"],
            controller.size,
            controller.living(),
            session.inbox.last,
            resumes,
            _facts(controller.facts),
            bool(session.process),
            process_memory.node(),
            controller.lost,
        )
        if session.send([messages.encode(welcome)]):
            session.connect(listener, hello.received)
            session.pump()

    def _process_of(self, shown: messages.ReadableMemory | None) -> int:
        """The client's process, where its memory can be read; else 0."""
        near = shown is not None and shown.place == self._place != ""
        if shown is not None and near and process_memory.can_read(shown.pid, shown.address, shown.cookie):
            return shown.pid
        return 0

    def _left(self, session: Session) -> None:
        """The client will not come back: what it has not got waits for another one."""
        session.disconnect()
        session.left = True
        self.requests.abandon(session)
        session.upload = None
        session.forget_printed()
        if not session.open and session.outbox.oldest is None:
            del self.sessions[session.name]
            self.requests.staging.discard(session)

    def _refuse(self, listener: Listener, name: bytes, reason: str) -> None:
        refused = Session(name)
        refused.listener = listener
        refused.send([messages.encode(messages.Refused(reason))])

    def waiting(self, asker: Session) -> list[str]:
        """The requests of clients that are away, with results that wait or are to come."""
        found: dict[str, None] = {}
        for session in sorted(self.sessions.values(), key=lambda s: s.away):
            if session is not asker and session.listener is None:
                found.update(dict.fromkeys(self.waiting_for(session)))
        return list(found)

    def waiting_for(self, session: Session) -> list[str]:
        """The requests of a client whose results nobody has asked for."""
        replies = [reply for reply, _, _ in session.waiting() if not is_expired(reply)]
        ids = dict.fromkeys([*(reply.id for reply in replies), *session.open])
        return [id for id in ids if id not in session.fetched]

    def forget(self, session: Session) -> None:
        """Nobody wants anything of a client that has left."""
        if not session.open:
            self.sessions.pop(session.name, None)

    # -- what a client says ---------------------------------------------------------------------------------

    def _heard(self, session: Session, message: Any, frames: list[Any]) -> None:
        session.acknowledged(message.ack)
        if isinstance(message, messages.Goodbye):
            self._left(session)
        elif not isinstance(message, messages.Ack) and session.inbox.accept(
            message.seq, sum(len(frame) for frame in frames)
        ):
            if isinstance(message, messages.Query):
                self._query(session, message)
            elif isinstance(message, messages.Release):
                self.controller.retained.release(message.id, message.engine, session)
            else:
                self.requests.accepted(session, message, frames)
        if session.inbox.owes:
            session.send([messages.encode(messages.Ack(session.inbox.acknowledged()))])

    def _query(self, session: Session, query: messages.Query) -> None:
        value, error = None, f"this controller can't answer {query.what!r}"
        find = ANSWERS.get(query.what)
        if find is not None:
            try:
                value, error = find(self.controller, session, query), ""
            except BadQuery as e:
                error = str(e)
            except Exception as e:  # whoever asks waits for an answer
                log.warning(
                    "client %s asked %s in a way that can't be answered: %s",
                    session.label,
                    query.what,
                    e,
                    exc_info=True,
                )
                error = f"{query.what!r} can't be asked like that: {e}"
        if value is not LATER:
            session.tell(messages.Answer, query.id, value, error)


def _facts(facts: dict[str, Any]) -> dict[str, Any]:
    """What is told of the cluster, with the seconds that it has left: a client's clock may be another."""
    ends = facts["ends"]
    return {**facts, "time_left": max(0.0, ends - time.time())} if ends else facts
