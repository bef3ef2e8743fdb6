"""The choice of the delivery of a request's data."""

from __future__ import annotations

from ..engine_registry import EngineRegistry
from ..scheduling.delivery import (
    Broadcast,
    BulkSender,
    DirectMemory,
    InlineDelivery,
    PointToPoint,
)
from ..scheduling.scheduler import ActiveRequest, Scheduler


class DeliveryPlanner:
    """Chooses how the data of each request reaches its engines."""

    def __init__(self, scheduler: Scheduler, registry: EngineRegistry, sender: BulkSender) -> None:
        self._scheduler = scheduler
        self._registry = registry
        self._sender = sender

    def stays_at_client(self, request: ActiveRequest) -> bool:
        """Return whether the bulk data can stay in the client's memory until the engines read it there.

        The controller reads the data of a waiting request at once, so that the client may change the data.
        """
        return self._registry.share_memory(request.targets) and self._scheduler.idle(request.targets)

    def choose(self, request: ActiveRequest) -> InlineDelivery:
        """Return the delivery of a request that is handed to the scheduler now."""
        upload = request.upload
        retain = bool(request.client.process) and self._registry.share_memory(request.targets)
        if not upload.bulk:
            return InlineDelivery(upload, retain)
        if upload.header.addresses and upload.missing:
            return DirectMemory(upload, retain)
        if self._broadcasts(request):
            return Broadcast(upload, retain, self._sender)
        return PointToPoint(upload, retain, self._sender)

    def _broadcasts(self, request: ActiveRequest) -> bool:
        """Return whether the shared bulk data goes to all engines by a collective."""
        return (
            self._sender.can_broadcast
            and len(request.targets) == self._registry.size
            and request.upload.header.op != "share"
            and self._scheduler.begins_at_once(request)
        )
