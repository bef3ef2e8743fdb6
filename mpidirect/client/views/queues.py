"""The part of a view for results of earlier calls, and for the queues of engines."""

from __future__ import annotations

from typing import Any

from ..results.asyncresult import AsyncResult
from ..type_variables import EngineSelection
from .flags import FlaggedView


class QueueView(FlaggedView):
    """The methods of a view for its earlier calls, and for the queues of its engines."""

    def wait(self, jobs: Any = None, timeout: float | None = -1) -> bool:
        """Wait for results.

        Parameters
        ----------
        jobs : AsyncResult, str, int or a list of these, optional
            Results, ids or indices to `history`; by default all calls of this view.
        timeout : float, optional
            Maximum seconds to wait; -1 or None without limit.

        Returns
        -------
        bool
            Whether all these calls have ended.

        Examples
        --------
        >>> dview.wait(timeout=10)
        True
        """
        if jobs is None:
            jobs = list(self.history)
        if isinstance(jobs, int):
            jobs = self.history[jobs]
        elif isinstance(jobs, (list, tuple)):
            jobs = [self.history[job] if isinstance(job, int) else job for job in jobs]
        return self.client.wait(jobs, timeout)

    def get_result(
        self, indices_or_msg_ids: Any = None, block: bool | None = None, owner: bool = True
    ) -> AsyncResult:
        """Return a result of this view again; see `Client.get_result`.

        Parameters
        ----------
        indices_or_msg_ids : int, str or a list of these, optional
            Indices to `history`, or ids; by default the latest call.
        block : bool, optional
            Whether to wait.
        owner : bool
            Whether the result is removed from the cluster when it is deleted here.

        Examples
        --------
        >>> dview.get_result(-1).get()
        """
        index = -1 if indices_or_msg_ids is None else indices_or_msg_ids
        if isinstance(index, int):
            index = self.history[index]
        elif isinstance(index, (list, tuple, set)):
            index = [self.history[item] if isinstance(item, int) else item for item in index]
        return self.client.get_result(index, block=block, owner=owner)

    @property
    def outstanding(self) -> set[str]:
        """The ids of this view's calls that have not ended; see `Client.outstanding`."""
        calls = set(self.history)
        return {id for id in self.client.outstanding if id.partition(":")[0] in calls}

    @property
    def results(self) -> Any:
        """The results that have arrived, by the ids of their parts; see `Client.results`."""
        return self.client.results

    def purge_results(self, jobs: Any = (), targets: EngineSelection = ()) -> None:
        """Forget results; see `Client.purge_results`."""
        self.client.purge_results(jobs, targets)

    def abort(self, jobs: Any = None, targets: EngineSelection = None, block: bool | None = None) -> None:
        """Remove tasks that have not begun from the queues; see `Client.abort`."""
        jobs = list(self.outstanding) if jobs is None else jobs
        self.client.abort(jobs, self.targets if targets is None else targets)

    def queue_status(self, targets: EngineSelection = None, verbose: bool = False) -> dict[Any, Any]:
        """Return the lengths of the engines' queues; see `Client.queue_status`."""
        return self.client.queue_status(self.targets if targets is None else targets, verbose)

    def shutdown(
        self,
        targets: EngineSelection = None,
        restart: bool = False,
        hub: bool = False,
        block: bool | None = None,
    ) -> None:
        """End the cluster; see `Client.shutdown`."""
        self.client.shutdown(self.targets if targets is None else targets, restart, hub, block)

    def spin(self) -> None:
        """Read the messages that have arrived; this happens by itself."""
        self.client.spin()
