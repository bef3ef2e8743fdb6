"""Tasks that the controller gives to engines: their arguments and results are texts, not pickles."""

from __future__ import annotations

from collections.abc import Mapping

from ..protocol import messages
from .clients.requests import Requests
from .sessions.session import Session
from .sessions.undelivered import undelivered_results


class OwnTasks:
    """Gives tasks to engines and collects the results, as a client would.

    Attributes
    ----------
    session : Session
        The session to which the tasks belong. It has no connection, so it keeps all replies.
    """

    def __init__(self, requests: Requests) -> None:
        self.session = Session(b"controller")
        self._requests = requests
        self._count = 0

    def submit(self, operation: str, arguments: Mapping[int, list[str]], directory: str) -> None:
        """Queue a task for each engine.

        Parameters
        ----------
        operation : str
            One of `CONTROLLER_OPERATIONS` of the engine.
        arguments : mapping
            The arguments of each engine's task.
        directory : str
            The directory of a client's script, in which engines look for modules.
        """
        self.session.directory = directory
        encoded = [[text.encode() for text in texts] for texts in arguments.values()]
        sizes = [list(map(len, texts)) for texts in encoded]
        self._count += 1
        id = f"{self.session.label}-{operation}-{self._count}"
        request = messages.Request(0, 0, id, list(arguments), operation, operation, [], sizes)
        self._requests.receive(self.session, request, [text for texts in encoded for text in texts])

    @property
    def complete(self) -> bool:
        """Return whether all engines have answered."""
        return not self.session.open

    def results(self) -> tuple[dict[int, bytes], dict[int, str]]:
        """Return the results of the engines that have replied, and the errors of the others; forget both."""
        self.session.flush()
        found: dict[int, bytes] = {}
        failed: dict[int, str] = {}
        for reply, inline, bulk in undelivered_results(self.session.outbox):
            if reply.failure is None:
                found[reply.engine] = b"".join(map(bytes, [*inline, *bulk]))
            else:
                failed[reply.engine] = f"{reply.failure.ename}: {reply.failure.evalue}"
        self.session.outbox.acknowledge(self.session.outbox.last)
        return found, failed
