"""The interface of an object that receives the controller's messages."""

from __future__ import annotations

from typing import Any, Protocol

from ...files.connection_file import ConnectionInfo
from ...protocol import messages

Answer = tuple[messages.Reply, list[Any]]  # the end of a task, and the frames of its result


class Receiver(Protocol):
    """Receives messages; the caller of each method holds the connection's lock."""

    def engines_changed(self, news: messages.EnginesChanged | messages.Welcome) -> None:
        """Note that engines have started or ended, or will start."""

    def replied(self, answers: list[Answer]) -> None:
        """Take replies: tasks have ended on engines."""

    def printed(self, message: messages.RelayedOutput) -> None:
        """Take what a task has printed or displayed."""

    def debugger_changed(self, prompt: messages.DebuggerPrompt) -> None:
        """Note that the debugger of an engine waits for a command, or no longer waits."""

    def received(self, id: str, size: int) -> None:
        """Note that `size` bytes of the results of a request have arrived."""

    def result_announced(self, message: messages.ResultSize) -> None:
        """Note the size of all results of a request together."""

    def data_moving(self, message: messages.DataMoving) -> None:
        """Note how much of the bulk data of a request has arrived."""

    def data_read(self, id: str) -> None:
        """Note that the cluster has read the bulk data of a request."""

    def result_moved(self, id: str, engine: int, addresses: list[int]) -> None:
        """Note the new addresses of a result in its engine's memory."""

    def answered(self, answer: messages.Answer) -> None:
        """Take the controller's answer to a query."""

    def controller_changed(self, info: ConnectionInfo) -> None:
        """Note that another process is the controller now, perhaps in another job and on another host."""

    def session_forgotten(self) -> None:
        """Note that the controller no longer knows this client: calls under way will get no reply."""

    def controller_lost(self, error: Exception) -> None:
        """Note that the controller is gone."""
