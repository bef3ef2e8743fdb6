"""What comes in for a client: results, answers, news of engines."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from .. import errors
from ..protocol import messages
from .results import unseen_failures

if TYPE_CHECKING:
    from .client import Client
    from .connection.receiver import Answer

LAST_WORDS = 5.0  # seconds that a scheduler has to tell why the cluster's job ended


class Incoming:
    """The `Receiver` of a client's connection, apart from what its users see of the client.

    Parameters
    ----------
    client : Client
        Whose calls these are.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def engines_changed(self, engines: list[messages.EngineInfo], size: int, lost: dict[int, str]) -> None:
        """The engines that live now."""
        client = self._client
        client._engines = {engine.id: engine for engine in engines}
        client.size = size
        lost = {**client._lost, **lost}
        client._lost = {id: why for id, why in lost.items() if id < size and id not in client._engines}

    def replied(self, answers: list[Answer]) -> None:
        """Tasks have ended on engines."""
        for id, those in itertools.groupby(answers, _id):
            call = self._client._calls.get(id)
            if call is not None:
                call.replied(list(those))
                self._client._react(call)

    def printed(self, message: messages.RelayedOutput) -> None:
        """A task has printed or displayed something: also after its end, by its threads."""
        call = self._client._calls.get(message.id) or self._client._known.get(message.id)
        if call is not None:
            call.printed(message.engine, message.pieces)

    def taken(self, id: str) -> None:
        """The data of a request has been read."""
        call = self._client._calls.get(id)
        if call is not None:
            call.buffers = None

    def moved(self, id: str, engine: int, addresses: list[int]) -> None:
        """A result waits elsewhere in its engine's memory."""
        call = self._client._calls.get(id)
        if call is not None:
            call.moved(engine, addresses)
            self._client._ended(call)

    def answered(self, answer: messages.Answer) -> None:
        """The controller has answered a query."""
        if answer.id in self._client._answers:
            self._client._answers[answer.id] = answer

    def forgotten(self) -> None:
        """The controller has dropped what it kept for this client."""
        for call in list(self._client._calls.values()):
            call.abandon("ResultExpired", "the controller kept nothing of this client while it was away")
        self._client._calls.clear()

    def lost(self, error: Exception) -> None:
        """The controller is gone."""
        from ..launchers.scheduled_jobs import failure_reason

        client = self._client
        info = client._info
        if "_deadline" in client.__dict__:
            client._deadline.close()
        if isinstance(error, errors.ControllerLost):
            why = failure_reason(info.profile, info.cluster, LAST_WORDS)
            if why:
                error.args = (f"The cluster {info.cluster} on {info.host} is gone, by the end {why}",)
        client._engines = {}
        for call in list(client._calls.values()):
            call.abandon(type(error).__name__, str(error))
            unseen_failures.ended(call)
        client._calls.clear()


def _id(answer: Answer) -> str:
    return answer[0].id
