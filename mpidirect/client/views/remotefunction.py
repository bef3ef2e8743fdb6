"""Functions that run on engines when they are called."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol

from ...arrays import partition
from ..display.tracebacks import trim_traceback, trim_tracebacks
from ..type_variables import Value
from .functions import check_callable, function_name

if TYPE_CHECKING:
    from typing_extensions import Self

Function = Callable[..., Any]


class CallingView(Protocol):
    """The part of a view that remote functions use: see `View`."""

    def set_flags(self, **flags: Any) -> Self:
        """Set flags of the view."""

    def apply(self, f: Function, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function on the engines."""

    def _apply_to_parts(self, f: ParallelFunction, items: list[Any], length: int) -> Any:
        """Call a function on each engine with a part of each sequence."""

    def _map_with_options(self, f: ParallelFunction, sequences: Sequence[Any]) -> Any:
        """Call a function with each item of the sequences."""


def remote(
    view: CallingView, block: bool | None = None, **flags: Any
) -> Callable[[Function], RemoteFunction]:
    """Make a function run on the engines of `view`: a decorator.

    Parameters
    ----------
    view : View
        The engines.
    block : bool, optional
        Whether to wait; by default the view's ``block`` at the time of the call.
    **flags
        Other flags of the view, for these calls: ``targets``, ``track``, ``label``.

    Returns
    -------
    callable
        The decorator.

    Examples
    --------
    >>> @remote(dview, block=True)
    ... def rank_squared():
    ...     return rank**2
    >>> rank_squared()
    [0, 1, 4, 9]
    """
    return lambda f: RemoteFunction(view, f, block=block, **flags)


def parallel(
    view: CallingView, dist: str = "b", block: bool | None = None, ordered: bool = True, **flags: Any
) -> Callable[[Function], ParallelFunction]:
    """Make each engine call a function with its part of the sequences: a decorator.

    Parameters
    ----------
    view : View
        The engines.
    dist : {'b', 'r'}
        Cut sequences into contiguous blocks, or deal the items out round robin.
    block : bool, optional
        Whether to wait; by default the view's ``block`` at the time of the call.
    ordered : bool
        Iterate over results in their order, not as they arrive.
    **flags
        ``return_exceptions``, ``chunksize``, and the flags of the view: ``targets``, ``track``, ``label``.

    Returns
    -------
    callable
        The decorator.

    Examples
    --------
    >>> @parallel(dview, block=True)
    ... def double(part):
    ...     return [2 * x for x in part]
    >>> double(range(5))
    [0, 2, 4, 6, 8]
    """
    return lambda f: ParallelFunction(view, f, dist=dist, block=block, ordered=ordered, **flags)


def _same(f: Function) -> Function:
    return f


@trim_tracebacks
class RemoteFunction(Generic[Value]):
    """A function that runs on engines when it is called.

    Parameters
    ----------
    view : View
        The engines.
    f : callable
        The function.
    block : bool, optional
        Whether to wait; by default the view's ``block`` at the time of the call.
    **flags
        Other flags of the view, for these calls.

    Examples
    --------
    >>> RemoteFunction(dview, os.getpid, block=True)()
    [12345, 12346, 12347, 12348]
    """

    @trim_traceback
    def __init__(self, view: CallingView, f: Function, block: bool | None = None, **flags: Any) -> None:
        check_callable(f)
        functools.update_wrapper(self, f)
        self.__name__ = function_name(f)
        if f.__doc__:
            self.__doc__ = f"{type(self).__name__} wrapping:\n{f.__doc__}"
        self.view = view
        self.func = f
        self.block = block
        self.flags = flags
        self._view_with_flags()  # raises the error of a wrong flag now

    def __call__(self, *args: Any, **kwargs: Any) -> Value:
        """Call the function on the engines.

        Returns
        -------
        AsyncResult, or the results where calls block.
        """
        value: Value = self._view_with_flags().apply(self.func, *args, **kwargs)
        return value

    def _view_with_flags(self) -> CallingView:
        """Return a copy of the view with the flags; other threads use the view itself."""
        view = copy.copy(self.view).set_flags(**self.flags)
        return view if self.block is None else view.set_flags(block=self.block)

    def __reduce__(self) -> Any:
        return _same, (self.func,)  # on an engine a recursive function calls itself, not the view

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__name__} on {self._view_with_flags()!r}>"


@trim_tracebacks
class ParallelFunction(RemoteFunction[Any]):
    """A function that each engine calls with its part of the sequences.

    Parameters
    ----------
    view : View
        The engines.
    f : callable
        Called once on each engine, with the parts; by `map` with each item.
    dist : {'b', 'r'}
        Cut sequences into contiguous blocks, or deal the items out round robin.
    block : bool, optional
        Whether to wait; by default the view's ``block`` at the time of the call.
    chunksize : int, optional
        With a load-balanced view, the length of each part.
    ordered : bool
        Iterate over results in their order, not as they arrive.
    return_exceptions : bool
        Put exceptions in the place of results, instead of raising `CompositeError`.
    **flags
        Other flags of the view, for these calls.

    Examples
    --------
    >>> ParallelFunction(dview, sorted, block=True)([3, 1, 2, 5, 4])
    [1, 3, 2, 5, 4]
    """

    @trim_traceback
    def __init__(
        self,
        view: CallingView,
        f: Function,
        dist: str = "b",
        block: bool | None = None,
        chunksize: int | None = None,
        ordered: bool = True,
        return_exceptions: bool = False,
        **flags: Any,
    ) -> None:
        partition.check(dist)
        super().__init__(view, f, block=block, **flags)
        self.dist = dist
        self.chunksize = chunksize
        self.ordered = ordered
        self.return_exceptions = return_exceptions

    def __call__(self, *sequences: Any) -> Any:
        """Call the function on each engine with a part of each sequence.

        Parameters
        ----------
        *sequences : sequences, arrays or iterables
            Of equal lengths. Engines whose part would be empty are not called.

        Returns
        -------
        AsyncMapResult, or the results where calls block: lists and arrays joined, else a list.

        Raises
        ------
        TypeError
            When no sequence is given.
        ValueError
            When the lengths differ.
        """
        items = [partition.as_sequence(sequence) for sequence in sequences]
        lengths = [len(item) for item in items]
        if not items:
            raise TypeError(f"{self.__name__}() needs a sequence, to give each engine a part of it")
        if len(set(lengths)) > 1:
            raise ValueError(f"all sequences must have equal length, but have {lengths}")
        return self._view_with_flags()._apply_to_parts(self, items, lengths[0])

    def map(self, *sequences: Any) -> Any:
        """Call the function with each item of the sequences, as the builtin `map`.

        Parameters
        ----------
        *sequences : sequences or iterables
            The shortest one decides how many calls are made.

        Returns
        -------
        AsyncMapResult, or a list where calls block.

        Examples
        --------
        >>> echo.map(range(5))
        ['0', '1', '2', '3', '4']
        """
        return self._view_with_flags()._map_with_options(self, sequences)
