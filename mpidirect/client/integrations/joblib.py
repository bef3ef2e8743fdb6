"""Engines as the workers of joblib: ``with joblib.parallel_backend("mpidirect"): …``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, register_parallel_backend

if TYPE_CHECKING:
    from .. import Client
    from ..executor import ViewExecutor


class MPIDirectBackend(AutoBatchingMixin, ParallelBackendBase):
    """A backend of joblib.

    Parameters
    ----------
    view : LoadBalancedView, optional
        Whose engines are the workers; by default all of the default profile's cluster.
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(self, view: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self._view = view
        self._client: Client | None = None
        self._executor: ViewExecutor | None = None

    def _begin(self) -> ViewExecutor:
        if self._executor is None:
            if self._view is None:
                from .. import Client

                self._client = Client()
                self._view = self._client.load_balanced_view()
            self._executor = self._view.executor
        return self._executor

    def effective_n_jobs(self, n_jobs: int) -> int:
        """How many jobs run at a time: -1 stands for all engines, -2 for all but one."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        engines = self._begin()._max_workers
        if n_jobs is None:
            return engines
        return max(1, engines + 1 + n_jobs) if n_jobs < 0 else min(n_jobs, engines)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Joblib begins."""
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> Any:
        """Run a batch of joblib's."""
        future = self._begin().submit(func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def apply_async(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> Any:
        """The same under the name that joblib had before version 1.5."""
        return self.submit(func, callback)

    def retrieve_result_callback(self, out: Any) -> Any:
        """The result of a batch that is done."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """One has failed: the others need not begin."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def terminate(self) -> None:
        """Joblib ends."""
        self._executor = None
        if self._client is not None:
            self._client.close()
            self._client = self._view = None

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """What is used on the engines."""
        from joblib._parallel_backends import SequentialBackend

        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None


def register(name: str = "mpidirect", make_default: bool = False, view: Any = None) -> None:
    """Register the backend with joblib.

    Parameters
    ----------
    name : str
        Under which name.
    make_default : bool
        Use it where no other is named.
    view : LoadBalancedView, optional
        Whose engines are the workers; by default all of the default profile's cluster.
    """

    def factory(**options: Any) -> MPIDirectBackend:
        return MPIDirectBackend(view, **options)

    register_parallel_backend(name, factory, make_default=make_default)
