"""The end of a controller that has a successor, and the beginning of the successor.

Where MPI can't spawn all engines anew, all processes of the job are started anew, the controller included.
The clients keep their keys, address and numbered streams: for them it is a connection that broke.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..job.handover import STARTING, Handover, KeptSession, SessionState
from ..memory import process_memory
from ..protocol import messages
from .sessions.session import Session

if TYPE_CHECKING:
    from .controller import Controller

log = logging.getLogger(__name__)


def conclude(controller: Controller, why: str) -> None:
    """End all that clients wait for, with an error that says `why`; nothing new is accepted after it."""
    controller.balancer.retire(why)
    for session in controller.clients.sessions.values():
        controller.clients.requests.end_all(session, why)
    controller.pending_queries.answer_all()
    for session in controller.clients.sessions.values():
        session.flush()


def kept_sessions(controller: Controller) -> Iterator[KeptSession]:
    """Return the state of each client, with the messages that the client may not have."""
    now = time.monotonic()
    for session in controller.clients.sessions.values():
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


def drop_results(controller: Controller) -> None:
    """Drop all results that wait for clients: there is no room to hand them over."""
    for session in controller.clients.sessions.values():
        session.outbox.rewind(0)
        while session.drop_oldest() is not None:
            pass


def announce(controller: Controller) -> None:
    """Tell all connected clients that another controller continues."""
    for session in controller.clients.sessions.values():
        session.send([messages.encode(messages.ControllerRestarts(STARTING))])


def resume(controller: Controller, handover: Handover, kept: Iterable[KeptSession]) -> None:
    """Continue with the clients of the former controller."""
    same_place = handover.place == process_memory.place()
    for state, frames in kept:
        if state.process and not same_place:
            continue  # such a client sends addresses in its memory, which this controller can't read
        session = Session(state.name)
        session.directory, session.process = state.directory, state.process
        session.left, session.away = state.left, time.monotonic() - state.away
        session.useless, session.fetched = state.useless, set(state.fetched)
        session.inbox.last = state.received
        session.outbox.last = state.last - state.kept
        for message in frames:
            session.outbox.put(message, sum(map(len, message)))
        controller.clients.sessions[state.name] = session
    controller.lost = {id: why for id, why in handover.lost.items() if id < controller.size}
    controller.generations.await_all(handover)
    log.info("generation %d: %d clients are known", handover.generation, len(controller.clients.sessions))
