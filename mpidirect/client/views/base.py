"""The base of all views: calls of functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Literal, overload

from ...serialize.reference import Reference
from ..executor import ViewExecutor
from ..results.asyncmapresult import AsyncMapResult
from ..results.asyncresult import AsyncResult
from ..type_variables import Item, Targets
from .queues import QueueView
from .remotefunction import ParallelFunction, RemoteFunction, parallel, remote


class View(QueueView, Generic[Targets]):
    """Engines of a cluster, and methods that call functions on them.

    This is the base of `DirectView` and `LoadBalancedView`. For type checkers, a call on a ``View[int]``
    returns the value of one engine, and a call on a ``View[list[int]]`` a list with the value of each engine.

    Parameters
    ----------
    client : Client
        The client.
    targets : int, list of int or slice, optional
        The engines.
    **flags
        Other attributes that `FLAGS` names.
    """

    # -- what the kinds of views implement ----------------------------------------------------------------

    def _apply(
        self,
        f: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        block: bool | None = None,
    ) -> Any:
        """Call a function on the engines; return the result, or the values where calls block."""
        raise NotImplementedError

    def map(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> Any:
        """Call a function with each item of the sequences, as the builtin `map`."""
        raise NotImplementedError

    def _apply_to_parts(self, f: ParallelFunction, items: list[Any], length: int) -> Any:
        """Call a function on each engine with a part of each sequence."""
        raise NotImplementedError

    def _map_with_options(self, f: ParallelFunction, sequences: Sequence[Any]) -> Any:
        """Call a function with each item of the sequences, with the options of a parallel function."""
        raise NotImplementedError

    def _values_if_blocking(self, result: AsyncResult, block: bool | None) -> Any:
        """Return the values where the call blocks, else the result."""
        return result.get() if (self.block if block is None else block) else result

    # -- functions ---------------------------------------------------------------------------------------

    def apply(self, f: Callable[..., Any] | Reference, /, *args: Any, **kwargs: Any) -> Any:
        """Call ``f(*args, **kwargs)`` on the engines.

        At a prompt, where `block` is set, what the engines print and display is shown.

        Parameters
        ----------
        f : callable or Reference
            A function, or the name of one that the engines have.
        *args, **kwargs
            The arguments.

        Returns
        -------
        AsyncResult, or the results where `block` is set.

        Examples
        --------
        >>> dview.apply(pow, 2, 10)
        [1024, 1024, 1024, 1024]
        """
        return self._apply(f, args, kwargs)

    @overload
    def apply_async(
        self: View[int], f: Callable[..., Item], /, *args: Any, **kwargs: Any
    ) -> AsyncResult[Item]: ...
    @overload
    def apply_async(
        self: View[list[int]], f: Callable[..., Item], /, *args: Any, **kwargs: Any
    ) -> AsyncResult[list[Item]]: ...
    @overload
    def apply_async(
        self, f: Callable[..., Any] | Reference, /, *args: Any, **kwargs: Any
    ) -> AsyncResult[Any]: ...
    def apply_async(self, f: Any, /, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """Call ``f(*args, **kwargs)`` on the engines; return at once.

        Parameters
        ----------
        f, *args, **kwargs
            As for `apply`.

        Examples
        --------
        >>> ar = dview.apply_async(pow, 2, 10)
        >>> ar.get()
        [1024, 1024, 1024, 1024]
        """
        result: AsyncResult[Any] = self._apply(f, args, kwargs, block=False)
        return result

    @overload
    def apply_sync(self: View[int], f: Callable[..., Item], /, *args: Any, **kwargs: Any) -> Item: ...
    @overload
    def apply_sync(
        self: View[list[int]], f: Callable[..., Item], /, *args: Any, **kwargs: Any
    ) -> list[Item]: ...
    @overload
    def apply_sync(self, f: Callable[..., Any] | Reference, /, *args: Any, **kwargs: Any) -> Any: ...
    def apply_sync(self, f: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call ``f(*args, **kwargs)`` on the engines; return the results.

        Parameters
        ----------
        f, *args, **kwargs
            As for `apply`.

        Examples
        --------
        >>> dview.apply_sync(pow, 2, 10)
        [1024, 1024, 1024, 1024]
        """
        return self._apply(f, args, kwargs, block=True)

    def map_async(
        self, f: Callable[..., Item], *sequences: Iterable[Any], **options: Any
    ) -> AsyncMapResult[Item]:
        """Do as `map`; return at once.

        Parameters
        ----------
        f, *sequences, **options
            As for `map`.

        Examples
        --------
        >>> for value in dview.map_async(abs, range(-2, 3)):
        ...     print(value)
        """
        result: AsyncMapResult[Item] = self.map(f, *sequences, **{**options, "block": False})
        return result

    def map_sync(self, f: Callable[..., Item], *sequences: Iterable[Any], **options: Any) -> list[Item]:
        """Do as `map`; return the list.

        Parameters
        ----------
        f, *sequences, **options
            As for `map`.

        Examples
        --------
        >>> dview.map_sync(abs, range(-2, 3))
        [2, 1, 0, 1, 2]
        """
        values: list[Item] = self.map(f, *sequences, **{**options, "block": True})
        return values

    @overload
    def remote(
        self: View[int], block: Literal[True], **flags: Any
    ) -> Callable[[Callable[..., Item]], RemoteFunction[Item]]: ...
    @overload
    def remote(
        self: View[list[int]], block: Literal[True], **flags: Any
    ) -> Callable[[Callable[..., Item]], RemoteFunction[list[Item]]]: ...
    @overload
    def remote(
        self: View[int], block: Literal[False], **flags: Any
    ) -> Callable[[Callable[..., Item]], RemoteFunction[AsyncResult[Item]]]: ...
    @overload
    def remote(
        self: View[list[int]], block: Literal[False], **flags: Any
    ) -> Callable[[Callable[..., Item]], RemoteFunction[AsyncResult[list[Item]]]]: ...
    @overload
    def remote(
        self, block: bool | None = None, **flags: Any
    ) -> Callable[[Callable[..., Any]], RemoteFunction]: ...
    def remote(
        self, block: bool | None = None, **flags: Any
    ) -> Callable[[Callable[..., Any]], RemoteFunction[Any]]:
        """Make a function run on the engines when it is called: a decorator.

        Parameters
        ----------
        block : bool, optional
            Whether to wait; by default the view's present ``block``.
        **flags
            Other flags of the view, for these calls.

        Returns
        -------
        callable
            The decorator.

        Examples
        --------
        >>> @dview.remote(block=True)
        ... def getpid():
        ...     import os
        ...     return os.getpid()
        >>> getpid()
        [12345, 12346, 12347, 12348]
        """
        return remote(self, self.block if block is None else block, **flags)

    def parallel(
        self, dist: str = "b", block: bool | None = None, ordered: bool = True, **flags: Any
    ) -> Callable[[Callable[..., Any]], ParallelFunction]:
        """Make each engine call a function with its part of the sequences: a decorator.

        Parameters
        ----------
        dist : {'b', 'r'}
            Cut sequences into contiguous blocks, or deal the items out round robin.
        block : bool, optional
            Whether to wait; by default the view's present ``block``.
        ordered : bool
            Iterate over results in their order, not as they arrive.
        **flags
            ``return_exceptions``, ``chunksize``, and other flags of the view.

        Returns
        -------
        callable
            The decorator.

        Examples
        --------
        >>> @dview.parallel(block=True)
        ... def echo(x):
        ...     return str(x)
        >>> echo(range(5))
        ['[0, 1]', '[2]', '[3]', '[4]']
        >>> echo.map(range(5))
        ['0', '1', '2', '3', '4']
        """
        return parallel(
            self, dist=dist, block=self.block if block is None else block, ordered=ordered, **flags
        )

    @property
    def executor(self) -> ViewExecutor:
        """A `concurrent.futures.Executor` on this view."""
        return ViewExecutor(self)
