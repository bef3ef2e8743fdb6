"""What a connection tells, and to whom."""

from __future__ import annotations

from typing import Any, Protocol

from ...protocol import messages

Answer = tuple[messages.Reply, list[Any]]  # how a task ended, and the frames of its result


class Receiver(Protocol):
    """Who is told what comes in; called with the connection's lock held."""

    def engines_changed(self, engines: list[messages.EngineInfo], size: int, lost: dict[int, str]) -> None:
        """The engines that live now."""

    def replied(self, answers: list[Answer]) -> None:
        """Tasks have ended on engines."""

    def printed(self, message: messages.RelayedOutput) -> None:
        """A task has printed or displayed something."""

    def taken(self, id: str) -> None:
        """The data of a request has been read."""

    def moved(self, id: str, engine: int, addresses: list[int]) -> None:
        """A result is at other addresses of its engine's memory now."""

    def answered(self, answer: messages.Answer) -> None:
        """The controller has answered a query."""

    def forgotten(self) -> None:
        """The controller has dropped what it knew of this client: open calls won't be answered."""

    def lost(self, error: Exception) -> None:
        """The controller is gone."""
