"""The base of `Client` and of its parts: the session with the controller."""

from __future__ import annotations

from .records import part_id
from .session.session import Session


class BaseClient:
    """A client as its parts know it: the parts need only the session.

    Attributes
    ----------
    block : bool
        Whether calls of new views wait for their results.
    """

    def __init__(self, session: Session) -> None:
        self.block = False
        self._session = session

    @property
    def ids(self) -> list[int]:
        """The ids of the live engines.

        Examples
        --------
        >>> rc.ids
        [0, 1, 2, 3]
        """
        session = self._session
        if session.connection.error is None:
            session.poll()
        return session.engines.ids

    @property
    def size(self) -> int:
        """The number of engines that the cluster has when all are alive.

        Examples
        --------
        >>> rc.size
        4
        """
        return self._session.engines.size

    @property
    def history(self) -> list[str]:
        """The ids of the calls that this client has made, in order."""
        return self._session.calls.history

    @history.setter
    def history(self, ids: list[str]) -> None:
        self._session.calls.history = ids

    @property
    def outstanding(self) -> set[str]:
        """The ids of the calls under way, and of those of their parts that have no reply yet.

        Examples
        --------
        >>> finished = set(ar.msg_ids) - rc.outstanding
        """
        ids: set[str] = set()
        for call in list(self._session.calls.under_way.values()):
            ids.add(call.id)
            ids.update(part_id(call, key) for key in call.targets if key not in call.replies)
        return ids
