"""Sends tasks to engines: frames by the task connection, bulk data by MPI."""

from __future__ import annotations

from ...protocol import messages
from ..scheduling.delivery import BulkSender
from ..scheduling.scheduler import ActiveRequest
from .links import EngineMessenger


class TaskSender:
    """The scheduler's way to send tasks."""

    def __init__(self, link: EngineMessenger, transfer: BulkSender) -> None:
        self._link = link
        self._transfer = transfer

    def send_task(self, engine: int, request: ActiveRequest) -> None:
        """Send an engine's task of a request, with its bulk data."""
        delivery = request.delivery
        self._link.send_task(engine, delivery.frames_for(engine))
        if request.bulk and (pieces := delivery.pieces_for(engine)):
            self._transfer.send(engine, pieces)

    def send_control(self, engine: int, message: messages.Message) -> None:
        """Send a message to an engine's control thread."""
        self._link.send_control(engine, message)
