"""The direct view: several engines, used as one object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

from ...arrays import partition
from ...serialize import calls, module_reload
from ..display import html
from ..display.tracebacks import trim_tracebacks
from ..magics.activation import activate
from ..results.asyncmapresult import AsyncMapResult
from ..results.asyncresult import AsyncResult
from ..type_variables import EngineSelection, Item, Targets
from .collectives import Collectives
from .debugging import debug
from .distributed_array import DistributedArray
from .execution import ExecutionView
from .functions import check_callable, function_name
from .imports import SynchronizedImports
from .namespaces import NamespaceView
from .remotefunction import ParallelFunction


@trim_tracebacks
class DirectView(NamespaceView[Targets], ExecutionView[Targets], Collectives[Targets]):
    """Some engines of a cluster: the view calls functions on them, and is a dict of the names on them.

    Parameters
    ----------
    client : Client
        The client.
    targets : int or list of int
        The engines. An int gives results as they are, a list gives lists of results.

    Attributes
    ----------
    block : bool
        Whether calls wait for their results.
    track : bool
        Whether `AsyncResult.sent` tells when the buffers of a call can be changed.
    targets : int or list of int
        The engines.

    Examples
    --------
    >>> dview = rc[:]
    >>> dview["a"] = 5
    >>> dview.apply_sync(lambda x: a + x, 27)
    [32, 32, 32, 32]
    >>> "a" in dview, list(dview)
    (True, ['a'])
    >>> del dview["a"]
    """

    def _hint_for(self, name: str) -> str:
        return f"; for that name on its engines:  view[{name!r}]"

    def _repr_html_(self) -> str:
        return html.engines(self._session, self._session.engines.resolve(self.targets), repr(self))

    def array(self, name: str) -> DistributedArray:
        """Return the array whose blocks the engines hold: an index moves only the selected items.

        Parameters
        ----------
        name : str
            The name or expression of the blocks, as `scatter` makes them with arrays.

        Returns
        -------
        DistributedArray

        Examples
        --------
        >>> dview.scatter("A", np.arange(1_000_000))
        >>> dview.array("A")[::250_000]
        array([     0, 250000, 500000, 750000])
        """
        return DistributedArray(self, name)

    # -- functions ----------------------------------------------------------------------------------------

    def _apply(
        self,
        f: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        block: bool | None = None,
    ) -> Any:
        check_callable(f)
        frames = calls.dumps(f, args, kwargs or {})
        result = self._request("apply", function_name(f), frames=frames, block=block)
        return self._values_if_blocking(result, block)

    def map(
        self,
        f: Callable[..., Any],
        *sequences: Any,
        block: bool | None = None,
        track: bool | None = None,
        return_exceptions: bool = False,
        targets: EngineSelection = None,
        dist: str = "b",
        ordered: bool = True,
        label: str | None = None,
        progress: bool = False,
    ) -> Any:
        """Map a function over sequences like the builtin `map`: each engine gets a contiguous part.

        Parameters
        ----------
        f : callable
            Called with an item of each sequence.
        *sequences : sequences or iterables
            As with the builtin, the shortest decides.
        block : bool, optional
            Whether to wait.
        track : bool, optional
            Ignored: `AsyncResult.sent` always works.
        return_exceptions : bool
            Put exceptions in the place of an engine's results, instead of raising a `CompositeError`.
        targets : int or list of int, optional
            The engines; by default those of the view.
        dist : {'b', 'r'}
            Cut sequences into contiguous blocks, or deal the items out round robin.
        ordered : bool
            Iterate over the results in their order, not as they arrive.
        label : str, optional
            A name for the call, kept in its metadata.
        progress : bool
            Show a bar of the completed items while the call waits.

        Returns
        -------
        AsyncMapResult, or a list.

        Examples
        --------
        >>> dview.map(lambda x: x**2, range(8), block=True)
        [0, 1, 4, 9, 16, 25, 36, 49]
        """
        check_callable(f)
        items, length = partition.to_map(sequences)

        def parts_for(n: int) -> list[Any]:
            return list(zip(*(partition.split(item, n, dist, listed=False) for item in items), strict=True))

        result = self._request(
            "map",
            function_name(f),
            frames=calls.dumps(f, (), {}),
            parts_for=parts_for,
            targets=targets,
            block=block,
            progress=progress,
            kind=AsyncMapResult,
            single=False,
            length=length,
            dist=dist,
            ordered=ordered,
            return_exceptions=return_exceptions,
            label=label,
        )
        return self._values_if_blocking(result, block)

    def imap(self, f: Callable[..., Item], *sequences: Iterable[Any], **options: Any) -> Iterator[Item]:
        """Do as `map`; return an iterator over the items, as the engines' parts arrive.

        Parameters
        ----------
        f, *sequences, **options
            As for `map`.

        Examples
        --------
        >>> list(dview.imap(abs, range(-2, 3)))
        [2, 1, 0, 1, 2]
        """
        return iter(self.map_async(f, *sequences, **options))

    def _apply_to_parts(self, f: ParallelFunction, items: list[Any], length: int) -> Any:
        targets = self._session.engines.resolve(self.targets)[:length]
        if not targets:
            empty: AsyncMapResult[Any] = AsyncMapResult(self._session, [], method=f.__name__)
            return empty.get() if self.block else empty

        def parts_for(n: int) -> list[tuple[Any, ...]]:
            return list(zip(*(partition.split(item, n, f.dist) for item in items), strict=True))

        result = self._request(
            "apply",
            f.__name__,
            frames=calls.dumps(f.func, (), {}),
            parts_for=parts_for,
            targets=targets,
            single=False,
            kind=AsyncMapResult,
            dist=f.dist,
            ordered=f.ordered,
            return_exceptions=f.return_exceptions,
        )
        return self._values_if_blocking(result, None)

    def _map_with_options(self, f: ParallelFunction, sequences: Sequence[Any]) -> Any:
        return self.map(
            f.func, *sequences, dist=f.dist, ordered=f.ordered, return_exceptions=f.return_exceptions
        )

    # -- ipyparallel's methods without effect --------------------------------------------------------------

    def use_cloudpickle(self) -> AsyncResult:
        """Change nothing: functions are always pickled by cloudpickle, with additions."""
        return self.apply_async(bool)

    def use_dill(self) -> AsyncResult:
        """Change nothing: functions are always pickled by cloudpickle, which supports what dill does."""
        return self.apply_async(bool)

    def use_pickle(self) -> AsyncResult:
        """Change nothing: objects are always pickled by pickle if it supports them."""
        return self.apply_async(bool)

    # -- imports and magics -------------------------------------------------------------------------------

    def sync_imports(self, local: bool = True, quiet: bool = False) -> AbstractContextManager[None]:
        """Import here and on the engines what is imported in the ``with`` block.

        Parameters
        ----------
        local : bool
            Import here as well; False is not implemented.
        quiet : bool
            Print nothing.

        Examples
        --------
        >>> with dview.sync_imports():
        ...     import numpy
        importing numpy on engine(s)
        """
        return SynchronizedImports(self, local, quiet)

    @property
    def importer(self) -> AbstractContextManager[None]:
        """`sync_imports`, without parentheses."""
        return self.sync_imports()

    def debug(self, engine: int | None = None) -> None:
        """Debug an engine at the prompt, by the commands of pdb: at ``breakpoint()``, or after an error.

        If engines of the view wait in ``breakpoint()``, they get the prompt, one engine at a time, until
        none of them waits. Calls that wait for such engines do the same. Engines that are busy have a moment
        to get there; Ctrl-C ends this wait.

        Otherwise this debugs the last error of an idle engine, after the error. Other engines go on, and the
        engine itself does not wait: each command is a task. An engine keeps an error, with the frames and
        their variables, until other code runs on the engine.

        Parameters
        ----------
        engine : int, optional
            The engine; by default the engines of the view that wait in ``breakpoint()``, else the first
            idle engine of the view that has an error.

        Examples
        --------
        >>> dview.apply_sync(solve)
        Traceback (most recent call last):
        ...
        mpidirect.errors.CompositeError: one or more exceptions from call to method: solve
        >>> dview.debug()
        Engine 2: ZeroDivisionError: division by zero
        > /home/me/solve.py(12)solve()
        -> return 1 / x
        (Pdb 2) p x
        0
        (Pdb 2) q
        """
        debug(self, engine)

    def reload(self, *modules: str | ModuleType) -> None:
        """Load modules again after an edit: here, and on the engines in the same version.

        Engines need not see the file of a module that lies beside the notebook or script. Names of functions
        and classes of the module refer to the new ones afterwards, here and on the engines. Objects keep
        their old class.

        Parameters
        ----------
        *modules : str or module
            The modules, in the order in which they are executed again. Name submodules explicitly.

        Raises
        ------
        CompositeError
            When a module can't be executed on an engine.

        Examples
        --------
        >>> dview.execute("from solver import step")
        >>> dview.reload("solver")  # after an edit of solver.py
        """
        for module in modules:
            reloaded = module_reload.reload_at_prompt(module)
            self.apply_sync(module_reload.reload, *reloaded)

    def activate(self, suffix: str = "") -> None:
        """Make IPython's magics ``%px``, ``%%px``, ``%autopx``, ``%result`` work on this view.

        Parameters
        ----------
        suffix : str
            Ends the names of the magics, for a second view beside the first.

        Examples
        --------
        >>> dview.activate("2")  # %px2, %autopx2, …
        """
        activate(self, suffix)


class BroadcastView(DirectView[Targets]):
    """A direct view under ipyparallel's name: every direct view sends data for all engines once.

    Attributes
    ----------
    is_coalescing : bool
        Accepted for ipyparallel; replies of engines are joined in any case.
    """

    FLAGS = (*DirectView.FLAGS, "is_coalescing")

    is_coalescing = False
