"""What views need of the client that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from .results.asyncresult import AsyncResult
from .session.session import Session
from .type_variables import EngineSelection


class ClientInterface(Protocol):
    """The part of `Client` that views, magics and integrations use.

    The session resolves engines and sends requests; the methods here are those that a view also
    offers.
    """

    block: bool
    _session: Session

    @property
    def ids(self) -> list[int]:
        """The ids of the live engines."""

    @property
    def history(self) -> list[str]:
        """The ids of the calls that were sent."""

    @property
    def outstanding(self) -> set[str]:
        """The ids of the calls under way."""

    @property
    def results(self) -> Mapping[str, Any]:
        """The results that have arrived."""

    def wait(self, jobs: Any = None, timeout: float | None = -1) -> bool:
        """Wait for results."""

    def get_result(
        self, indices_or_msg_ids: Any = None, block: bool | None = None, owner: bool = True
    ) -> AsyncResult:
        """Return the results of earlier calls."""

    def purge_results(self, jobs: Any = (), targets: EngineSelection = ()) -> None:
        """Forget results."""

    def abort(self, jobs: Any = None, targets: EngineSelection = None, block: bool | None = None) -> None:
        """Remove tasks that have not begun from the queues."""

    def queue_status(self, targets: EngineSelection = None, verbose: bool = False) -> dict[Any, Any]:
        """Return the lengths of the engines' queues."""

    def send_signal(self, sig: int | str, targets: EngineSelection = None, block: bool | None = None) -> None:
        """Send a signal to engines."""

    def shutdown(
        self,
        targets: EngineSelection = "all",
        restart: bool = False,
        hub: bool = False,
        block: bool | None = None,
    ) -> None:
        """End the cluster."""

    def spin(self) -> None:
        """Read the messages that have arrived."""
