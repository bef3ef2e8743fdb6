"""The receiver of what arrives by a connection."""

from __future__ import annotations

from typing import Any, Protocol

from ...protocol import messages

Answer = tuple[messages.Reply, list[Any]]  # how a task ended, and the frames of its result


class Receiver(Protocol):
    """Gets what arrives; each method is called with the connection's lock held."""

    def engines_changed(self, engines: list[messages.EngineInfo], size: int, lost: dict[int, str]) -> None:
        """Engines have started or ended: `engines` live now."""

    def replied(self, answers: list[Answer]) -> None:
        """Tasks have ended on engines."""

    def printed(self, message: messages.RelayedOutput) -> None:
        """A task has printed or displayed something."""

    def data_read(self, id: str) -> None:
        """The cluster has read the bulk data of a request."""

    def result_moved(self, id: str, engine: int, addresses: list[int]) -> None:
        """A result has other addresses in its engine's memory now."""

    def answered(self, answer: messages.Answer) -> None:
        """The controller has answered a query."""

    def session_forgotten(self) -> None:
        """The controller has dropped what it knew of this client: it answers no call under way."""

    def controller_lost(self, error: Exception) -> None:
        """The controller is gone."""
