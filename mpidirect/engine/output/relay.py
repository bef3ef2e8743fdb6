"""Sends output to the controller while a task runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import zmq

from ...protocol import messages
from .task_output import TaskOutput

INTERVAL = 0.02  # Seconds between two sends.
UNWATCHED_INTERVAL = 0.1  # Seconds between two checks, if no descriptor shows that there is output.
# Messages that are sent before the control thread checks for messages of the controller.
MESSAGES_AT_ONCE = 4


class OutputRelay:
    """Sends, in the control thread, the output of tasks.

    Parameters
    ----------
    output : TaskOutput
        The output.
    socket : zmq.Socket
        The control connection.
    """

    def __init__(self, output: TaskOutput, socket: zmq.Socket[Any]) -> None:
        self._output = output
        self._socket = socket
        self._due: float | None = None  # When to send, if there is output.
        self._sent = 0.0  # When output was sent last.
        self._line_due = float("inf")  # Seconds until an incomplete line is written.

    def register(self, poller: zmq.Poller) -> None:
        """Wait for output, except while a send is due: steady output must not wake the thread each time."""
        for descriptor in self._output.descriptors:
            poller.register(descriptor, 0 if self._due else zmq.POLLIN)
        poller.register(self._output.line_descriptor, zmq.POLLIN)

    def timeout(self) -> float:
        """Return the seconds until `send` must be called."""
        timeout = UNWATCHED_INTERVAL if self._output.unwatched else float("inf")
        timeout = min(timeout, self._line_due)
        if self._due is not None:
            timeout = min(timeout, max(0.0, self._due - time.monotonic()))
        return timeout

    def send(self, ready: Mapping[Any, int]) -> None:
        """Send output if a send is due.

        Parameters
        ----------
        ready : mapping
            What the poller has found.
        """
        if self._output.line_descriptor in ready or self._line_due < float("inf"):
            self._line_due = self._output.flush_lines()
        has_output = any(descriptor in ready for descriptor in self._output.descriptors)
        if self._due is None and (has_output or self._output.unwatched):
            self._due = max(time.monotonic(), self._sent + INTERVAL)
        if self._due is not None and time.monotonic() >= self._due:
            self._send()

    def _send(self) -> None:
        self._output.clear_notices()
        self._due, self._sent = None, time.monotonic()
        for _ in range(MESSAGES_AT_ONCE):
            if not self._socket.poll(0, zmq.POLLOUT):
                break
            message = self._output.next()
            if message is None:
                return
            self._socket.send(messages.encode(message))
        self._due = self._sent + INTERVAL  # There may be more output.

    def send_all(self) -> None:
        """Send all output so far, before a message that must follow it."""
        while (message := self._output.next()) is not None:
            self._socket.send(messages.encode(message))
