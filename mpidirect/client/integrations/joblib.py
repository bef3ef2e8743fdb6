"""Engines as the workers of joblib: ``with joblib.parallel_backend("mpidirect"): …``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from joblib.parallel import BACKENDS, register_parallel_backend

from ...serialize import received_names
from ..executor import ViewExecutor
from ..type_variables import EngineSelection

if TYPE_CHECKING:  # joblib has no types

    class AutoBatchingMixin:
        """Joblib's adaptation of the batch size to the duration of tasks."""

        def reset_batch_stats(self) -> None:
            """Forget the durations."""

    class ParallelBackendBase:
        """Joblib's base of backends."""

        nesting_level: int | None

        def __init__(self, **options: Any) -> None: ...

else:
    from joblib.parallel import AutoBatchingMixin, ParallelBackendBase


NAME, IPYPARALLEL = "mpidirect", "ipyparallel"  # the default name, and the one that ipyparallel's users write


class WorkerView(Protocol):
    """The part of a load-balanced view that the backend uses: see `LoadBalancedView`."""

    client: Any
    targets: EngineSelection

    @property
    def executor(self) -> ViewExecutor:
        """The executor that runs the tasks."""


class MPIDirectBackend(AutoBatchingMixin, ParallelBackendBase):
    """A backend of joblib.

    Parameters
    ----------
    view : LoadBalancedView, optional
        The view whose engines are the workers.
    connect : callable, optional
        Returns the view, if none is given; called when joblib starts. Its client is closed at the end.
    **options
        Joblib's options.
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(
        self,
        view: WorkerView | None = None,
        connect: Callable[[], WorkerView] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._view = view
        self._connect = connect
        self._owned_client: Any = None  # closed at the end
        self._executor: ViewExecutor | None = None

    def _start(self) -> ViewExecutor:
        if self._executor is None:
            if self._view is None:
                assert self._connect is not None
                self._view = self._connect()
                self._owned_client = self._view.client
            self._executor = self._view.executor
        return self._executor

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Return the number of jobs that run at a time: -1 is all engines, -2 all but one."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        engines = self._start()._max_workers
        if n_jobs is None:
            return engines
        return max(1, engines + 1 + n_jobs) if n_jobs < 0 else min(n_jobs, engines)

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Sequence[Any] = (),
        **options: Any,
    ) -> int:
        """Prepare for a call of `joblib.Parallel`; return the number of jobs.

        An initializer runs once on each engine.
        """
        self.parallel = parallel
        jobs = self.effective_n_jobs(n_jobs)
        if initializer is not None and self._view is not None:
            engines = self._view.client.direct_view(
                "all" if self._view.targets is None else self._view.targets
            )
            engines.apply_sync(initializer, *initargs)
        return jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> Any:
        """Run a batch of tasks; return a future."""
        future = self._start().submit(func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def apply_async(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> Any:
        """Call `submit`, by the name that joblib used before version 1.5."""
        return self.submit(func, callback)

    def retrieve_result_callback(self, out: Any) -> Any:
        """Return the result of a completed batch."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel the batches that have not begun, after one has failed."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def terminate(self) -> None:
        """End a call of `joblib.Parallel`."""
        self.reset_batch_stats()
        self._executor = None
        if self._owned_client is not None:
            self._owned_client.close()
            self._owned_client = self._view = None

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """Return the backend for `joblib.Parallel` inside a task, and its number of jobs."""
        return sequential((self.nesting_level or 0) + 1), None


def sequential(nesting_level: int | None) -> ParallelBackendBase:
    """Return joblib's backend that runs tasks here, one after the other."""
    from joblib._parallel_backends import SequentialBackend

    backend: ParallelBackendBase = SequentialBackend(nesting_level=nesting_level)
    return backend


def register(
    name: str = NAME,
    make_default: bool = False,
    view: WorkerView | None = None,
    connect: Callable[[], WorkerView] | None = None,
) -> None:
    """Register the backend with joblib.

    Parameters
    ----------
    name : str
        The name of the backend. The default name is registered as ipyparallel's name, too.
    make_default : bool
        Use the backend unless the user names another one.
    view : LoadBalancedView, optional
        The view whose engines are the workers.
    connect : callable, optional
        Returns the view, if none is given; called when joblib starts.
    """

    def factory(**options: Any) -> ParallelBackendBase:
        if (
            received_names.engine_names is not None
        ):  # a task that uses the engines would wait for the engines that run it
            return sequential(options.get("nesting_level"))
        return MPIDirectBackend(view, connect, **options)

    register_parallel_backend(name, factory, make_default=make_default)
    if name == NAME and IPYPARALLEL not in BACKENDS:
        register_parallel_backend(IPYPARALLEL, factory)
