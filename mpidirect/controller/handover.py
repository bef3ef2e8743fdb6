"""The end of a controller that has a successor, and the start of the successor.

If MPI can't spawn all engines anew, all processes of the job are started anew, the controller included.
The clients keep their keys, address and numbered streams; for them, a connection has broken and is back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator

from ..job.handover import STARTING, Handover, KeptSession, SessionState
from ..memory import process_memory
from ..protocol import messages
from .clients.pending_queries import PendingQueries
from .clients.requests import Requests
from .engine_registry import EngineRegistry
from .lifecycle import EngineLifecycle
from .scheduling.balancer import Balancer
from .sessions.session import Session
from .sessions.sessions import Sessions

log = logging.getLogger(__name__)


class Succession:
    """Hands the clients over to the next controller, or takes over the clients of the last one.

    Attributes
    ----------
    complete : bool
        Whether this controller has handed over.
    """

    def __init__(
        self,
        sessions: Sessions,
        requests: Requests,
        balancer: Balancer,
        pending_queries: PendingQueries,
        registry: EngineRegistry,
        lifecycle: EngineLifecycle,
    ) -> None:
        self.complete = False
        self._sessions = sessions
        self._requests = requests
        self._balancer = balancer
        self._pending_queries = pending_queries
        self._registry = registry
        self._lifecycle = lifecycle
        self._generations = lifecycle.generations

    # -- the end ----------------------------------------------------------------------------------

    @property
    def due(self) -> bool:
        """Return whether the engines are gone, and the successor can begin."""
        return self._generations.handover_due

    def hand_over(self, write: Callable[[], None], within: float = STARTING, next_job: bool = False) -> None:
        """Hand over to the successor; then `complete` tells whether that succeeded.

        Parameters
        ----------
        write : callable
            Writes the handover file.
        within : float
            Maximum seconds until the successor has started.
        next_job : bool
            Whether the successor runs in another job, perhaps on another host.
        """
        self._end_requests(f"each engine {self._generations.end_reason}")
        try:
            try:
                write()
            except OSError as e:
                log.warning("%s: results that wait for clients are dropped", e)
                self._drop_results()
                write()
        except OSError as e:
            why = f"what clients wait for can't be written: {e}. Make room, and try again"
            self._generations.fail(why)
            return
        for session in self._sessions.values():
            session.send([messages.encode(messages.ControllerRestarts(within, next_job))])
        self.complete = True

    def _end_requests(self, why: str) -> None:
        """End all requests with an error; after this, no new request is accepted."""
        self._balancer.retire(why)
        for session in self._sessions.values():
            self._requests.end_all(session, why)
        self._pending_queries.answer_all()
        for session in self._sessions.values():
            session.flush()

    def _drop_results(self) -> None:
        for session in self._sessions.values():
            session.outbox.rewind(0)
            while session.drop_oldest() is not None:
                pass

    def describe(
        self,
        generation: int,
        server_keys: tuple[bytes, bytes],
        client_keys: tuple[bytes, bytes],
        port: int,
        step: str,
    ) -> Handover:
        """Return what the successor must know, without the sessions.

        Parameters
        ----------
        generation : int
            The number of the next generation.
        server_keys, client_keys : (bytes, bytes)
            The key pairs of the port for clients: public, secret.
        port : int
            The TCP port for clients.
        step : str
            Slurm's id of the step that started this controller; empty outside of a step.
        """
        asked_by = self._generations.asked_by
        return Handover(
            generation=generation,
            engines=self._generations.next_size,
            former=self._registry.size,
            server=server_keys,
            clients=client_keys,
            port=port,
            place=process_memory.domain(),
            asker=asked_by.session.name if asked_by else b"",
            query=asked_by.query.id if asked_by else "",
            lost=self._registry.lost,
            step=step,
        )

    def kept_sessions(self) -> Iterator[KeptSession]:
        """Yield the state of each client, with the messages that the client may not have received."""
        now = time.monotonic()
        for session in self._sessions.values():
            state = SessionState(
                name=session.name,
                directory=session.directory,
                process=session.process,
                left=session.left,
                away=0.0 if session.listener else now - session.away,
                received=session.inbox.last,
                last=session.outbox.last,
                useless=self._requests.superfluous_chunks(session),
                fetched=sorted(session.recalled),
                kept=len(session.outbox),
            )
            yield KeptSession(state, (list(frames) for frames in session.outbox))

    # -- the beginning ----------------------------------------------------------------------------

    def resume(
        self, handover: Handover, kept: Iterable[KeptSession], prepare: Callable[[], None] | None = None
    ) -> None:
        """Continue with the clients of the former controller.

        Parameters
        ----------
        handover : Handover
            What the former controller has handed over.
        kept : iterable of KeptSession
            The sessions of its clients.
        prepare : callable, optional
            Called when all engines have joined, before clients know of them.
        """
        same_memory = handover.place == process_memory.domain()
        for state, frames in kept:
            if state.process and not same_memory:
                continue  # the client sends addresses in its memory, which this controller can't read
            self._sessions[state.name] = self._restored(state, frames)
        size = self._registry.size
        if prepare is None:
            self._registry.lost = {engine: why for engine, why in handover.lost.items() if engine < size}

        def all_arrived() -> None:
            if prepare is not None:
                prepare()
            self._answer_former(handover)

        self._generations.await_first(all_arrived)
        log.info("generation %d: %d clients are known", handover.generation, len(self._sessions))

    def _restored(self, state: SessionState, frames: Iterable[list[bytes]]) -> Session:
        session = Session(state.name)
        session.directory, session.process = state.directory, state.process
        session.left, session.away = state.left, time.monotonic() - state.away
        session.recalled = set(state.fetched)
        session.inbox.last = state.received
        session.outbox.last = state.last - state.kept
        for message in frames:
            session.outbox.put(message, sum(map(len, message)))
        if state.useless:
            self._requests.skip_chunks(session, state.useless)
        return session

    def _answer_former(self, handover: Handover) -> None:
        """Answer the client that asked the former controller for a restart: all engines are here."""
        self._lifecycle.announce({})
        session = self._sessions.get(handover.asker)
        if session is None:
            return
        size, wanted = self._registry.size, handover.engines
        if size == wanted:
            session.notify(messages.Answer, handover.query, {"replaced": list(range(size))}, "")
        else:
            why = f"{wanted} engines can't be started here: see job.log"
            session.notify(messages.Answer, handover.query, None, why)
