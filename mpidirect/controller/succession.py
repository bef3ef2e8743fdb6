"""The end of a controller that has a successor, and the beginning of the successor.

Where MPI can't spawn all engines anew, all processes of the job are started anew, the controller included.
The clients keep their keys, address and numbered streams: for a client it is a connection that broke.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ..job.handover import STARTING, Handover, KeptSession, SessionState
from ..memory import process_memory
from ..protocol import messages
from .sessions.session import Session

if TYPE_CHECKING:
    from .controller import Controller

log = logging.getLogger(__name__)


class Succession:
    """Hands over all that clients wait for to another controller, and takes it over from another.

    Parameters
    ----------
    controller : Controller
        The controller that ends or begins.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.write: Callable[[], None] | None = None  # Writes the handover file, if there is a supervisor.
        self.due = False  # The loop is to end, and then to hand over.
        self.done = False
        self.asker, self.query, self.size = b"", "", 0  # The client that asked for so many engines.
        self._why = ""
        self._former: Handover | None = None  # The handover, until all engines are here.

    @property
    def possible(self) -> bool:
        """Whether a supervisor would start another controller."""
        return self.write is not None

    @property
    def awaits_engines(self) -> bool:
        """Whether engines are still to come, after the engines of a former controller."""
        return self._former is not None

    # The controller that ends

    def begin(self, asker: bytes, query: str, size: int, why: str) -> None:
        """Have the controller end for the sake of a restart.

        Parameters
        ----------
        asker, query : bytes, str
            The client that waits for an answer, and the id of its query.
        size : int
            The number of engines after the restart.
        why : str
            The error of all that is not done.
        """
        self.asker, self.query, self.size, self._why, self.due = asker, query, size, why, True

    def hand_over(self) -> bool:
        """Leave all to a successor; return whether that succeeded."""
        self.due = False
        self._end_requests()
        assert self.write is not None
        try:
            try:
                self.write()
            except OSError as e:
                log.warning("%s: the results that wait for clients are dropped", e)
                self._drop_results()
                self.write()
        except OSError as e:
            why = f"the state of the clients can't be written: {e}. Make room, and try again"
            self.controller.generations.fail(why)
            return False
        for session in self._sessions():
            session.send([messages.encode(messages.ControllerRestarts(STARTING))])
        self.done = True
        return True

    def states(self) -> Iterator[KeptSession]:
        """Return the state of each client, with the messages that the client may not have."""
        now = time.monotonic()
        for session in self._sessions():
            state = SessionState(
                name=session.name,
                directory=session.directory,
                process=session.process,
                left=session.left,
                away=0.0 if session.listener else now - session.away,
                received=session.inbox.last,
                last=session.outbox.last,
                useless=session.useless,
                fetched=sorted(session.fetched),
                kept=len(session.outbox),
            )
            yield KeptSession(state, (list(frames) for frames in session.outbox))

    def _sessions(self) -> list[Session]:
        return list(self.controller.clients.sessions.values())

    def _end_requests(self) -> None:
        """End all that clients wait for, with an error."""
        controller = self.controller
        controller.balancer.retire(self._why)
        for session in self._sessions():
            controller.clients.requests.end_all(session, self._why)
        controller.pending_queries.answer_all()
        for session in self._sessions():
            session.flush()

    def _drop_results(self) -> None:
        """Drop all results that wait for clients: there is no room to hand them over."""
        for session in self._sessions():
            session.outbox.rewind(0)
            while session.drop_oldest() is not None:
                pass

    # The controller that begins

    def resume(self, former: Handover, kept: Iterable[KeptSession]) -> None:
        """Continue with the clients of the former controller."""
        controller, self._former = self.controller, former
        same_place = former.place == process_memory.domain()
        for state, frames in kept:
            # A client with a process sends addresses in its memory: a controller elsewhere can't read there.
            if same_place or not state.process:
                controller.clients.sessions[state.name] = _session(state, frames)
        controller.lost = {id: why for id, why in former.lost.items() if id < controller.size}
        log.info("generation %d: %d clients are known", former.generation, len(self._sessions()))

    def complete(self) -> None:
        """All engines are here: tell all clients, and answer the client that asked for the restart."""
        former, self._former = self._former, None
        assert former is not None
        controller = self.controller
        controller.tell_engines({})
        session = controller.clients.sessions.get(former.asker)
        if session is None:
            return
        if controller.size == former.engines:
            session.tell(messages.Answer, former.query, {"replaced": list(range(controller.size))})
        else:
            why = f"{former.engines} engines can't be started here: see job.log"
            session.tell(messages.Answer, former.query, None, why)


def _session(state: SessionState, kept: Iterable[list[bytes]]) -> Session:
    session = Session(state.name)
    session.directory, session.process = state.directory, state.process
    session.left, session.away = state.left, time.monotonic() - state.away
    session.useless, session.fetched = state.useless, set(state.fetched)
    session.inbox.last = state.received
    session.outbox.last = state.last - state.kept
    for frames in kept:
        session.outbox.put(frames, sum(map(len, frames)))
    return session
