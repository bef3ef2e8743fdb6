"""The receiver of what arrives by a connection."""

from __future__ import annotations

from typing import Any, Protocol

from ...files.connection_file import ConnectionInfo
from ...protocol import messages

Answer = tuple[messages.Reply, list[Any]]  # how a task ended, and the frames of its result


class Receiver(Protocol):
    """Gets what arrives; each method is called with the connection's lock held."""

    def engines_changed(self, news: messages.EnginesChanged | messages.Welcome) -> None:
        """Note that engines have started or ended, or are to start."""

    def replied(self, answers: list[Answer]) -> None:
        """Tasks have ended on engines."""

    def printed(self, message: messages.RelayedOutput) -> None:
        """Take what a task has printed or displayed."""

    def debugger_changed(self, prompt: messages.DebuggerPrompt) -> None:
        """Note that the debugger of an engine waits for a command, or waits no longer."""

    def received(self, id: str, size: int) -> None:
        """Note that so many bytes of the results of a request have come."""

    def result_announced(self, message: messages.ResultSize) -> None:
        """Note how large the results of a request are together."""

    def data_moving(self, message: messages.DataMoving) -> None:
        """Note how much of the bulk data of a request has arrived."""

    def data_read(self, id: str) -> None:
        """Note that the cluster has read the bulk data of a request."""

    def result_moved(self, id: str, engine: int, addresses: list[int]) -> None:
        """Note that a result has other addresses in its engine's memory now."""

    def answered(self, answer: messages.Answer) -> None:
        """Take the controller's answer to a query."""

    def controller_changed(self, info: ConnectionInfo) -> None:
        """Note that another process is the controller now, perhaps in another job and on another host."""

    def session_forgotten(self) -> None:
        """Note that the controller knows this client no longer: calls under way get no answer."""

    def controller_lost(self, error: Exception) -> None:
        """Note that the controller is gone."""
