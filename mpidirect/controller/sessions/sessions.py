"""All sessions, and the requests of absent clients."""

from __future__ import annotations

from .session import Session
from .undelivered import is_expired, undelivered_results


class Sessions(dict[bytes, Session]):
    """The sessions, by the names of their clients."""

    def owner_of(self, request: str) -> Session | None:
        """Return the session whose client made a request with this id."""
        return self.get(request.rpartition("-")[0].encode())

    def unclaimed(self, asker: Session) -> list[str]:
        """Return the ids of unclaimed requests of all clients that are away, except `asker`."""
        found: dict[str, None] = {}
        for session in sorted(self.values(), key=lambda session: session.away):
            if session is not asker and session.listener is None:
                found.update(dict.fromkeys(unclaimed_requests(session)))
        return list(found)


def unclaimed_requests(session: Session) -> list[str]:
    """Return the ids of a client's requests whose results no other client has asked for."""
    session.flush()
    replies = [reply for reply, _, _ in undelivered_results(session.outbox) if not is_expired(reply)]
    ids = dict.fromkeys([*(reply.id for reply in replies), *session.open])
    return [id for id in ids if id not in session.recalled]
