"""Functions that run on engines when they are called."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...arrays import partition
from ...serialize import calls
from ..display.tracebacks import quiet, quietly
from ..results.asyncmapresult import AsyncMapResult
from .function import check, name_of

if TYPE_CHECKING:
    from .base import View
    from .directview import DirectView

Function = Callable[..., Any]


def remote(view: View, block: bool | None = None, **flags: Any) -> Callable[[Function], RemoteFunction]:
    """Decorator: a function that runs on the engines of `view`.

    Parameters
    ----------
    view : View
        Where.
    block : bool, optional
        Whether to wait; by default what the view says when the function is called.
    **flags
        Other flags of the view, for these calls: ``targets``, ``track``, ``label``.
    """
    return lambda f: RemoteFunction(view, f, block=block, **flags)


def parallel(
    view: View, dist: str = "b", block: bool | None = None, ordered: bool = True, **flags: Any
) -> Callable[[Function], ParallelFunction]:
    """Decorator: a function that engines call with their parts of the sequences.

    Parameters
    ----------
    view : View
        Where.
    dist : {'b', 'r'}
        The parts are contiguous blocks, or taken round robin.
    block : bool, optional
        Whether to wait; by default what the view says when the function is called.
    ordered : bool
        Iterate over results in their order, not as they arrive.
    **flags
        ``return_exceptions``, ``chunksize``, and the flags of the view: ``targets``, ``track``, ``label``.
    """
    return lambda f: ParallelFunction(view, f, dist=dist, block=block, ordered=ordered, **flags)


def _itself(f: Function) -> Function:
    return f


@quiet
class RemoteFunction:
    """A function that runs on engines when it is called.

    Parameters
    ----------
    view : View
        Where.
    f : callable
        What.
    block : bool, optional
        Whether to wait; by default what the view says when the function is called.
    **flags
        Other flags of the view, for these calls.
    """

    @quietly
    def __init__(self, view: View, f: Function, block: bool | None = None, **flags: Any) -> None:
        check(f)
        functools.update_wrapper(self, f)
        self.__name__ = name_of(f)
        self.view = view
        self.func = f
        self.block = block
        self.flags = flags
        self._view()  # a wrong flag is told at once

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it; the results, or an `AsyncResult`."""
        return self._view().apply(self.func, *args, **kwargs)

    def _view(self) -> View:
        """The view with our flags; a copy, so that other threads don't see them."""
        view = copy.copy(self.view).set_flags(**self.flags)
        return view if self.block is None else view.set_flags(block=self.block)

    def __reduce__(self) -> Any:
        return _itself, (self.func,)  # on an engine it is the function: a recursive one calls itself there

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__name__} on {self._view()!r}>"


@quiet
class ParallelFunction(RemoteFunction):
    """A function that each engine calls with its part of the sequences.

    Parameters
    ----------
    view : View
        Where.
    f : callable
        Called once on each engine, with the parts; by `map` with each item.
    dist : {'b', 'r'}
        The parts are contiguous blocks, or taken round robin.
    block : bool, optional
        Whether to wait; by default what the view says when the function is called.
    chunksize : int, optional
        With a load-balanced view, the length of each part.
    ordered : bool
        Iterate over results in their order, not as they arrive.
    return_exceptions : bool
        Exceptions in the place of results, instead of a `CompositeError`.
    **flags
        Other flags of the view, for these calls.
    """

    @quietly
    def __init__(
        self,
        view: View,
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
        """Call it on each engine with a part of each sequence.

        Parameters
        ----------
        *sequences : sequences, arrays or iterables
            Of equal lengths. Engines that would get nothing are not called.

        Returns
        -------
        AsyncMapResult, or what the engines returned: lists and arrays joined, else a list.
        """
        items = [partition.as_sequence(sequence) for sequence in sequences]
        lengths = [len(item) for item in items]
        if not items:
            raise TypeError(f"{self.__name__}() needs a sequence, to give each engine a part of it")
        if len(set(lengths)) > 1:
            raise ValueError(f"all sequences must have equal length, but have {lengths}")
        return self._view()._parallel(self, items, lengths[0])

    def _on(self, view: DirectView, items: list[Any], length: int) -> Any:
        """Give each engine of a direct view its part."""
        targets = view._session.engines.resolve(view.targets)[:length]
        if not targets:
            nothing = AsyncMapResult(view._session, [], method=self.__name__)
            return nothing.get() if view.block else nothing

        def own(n: int) -> list[tuple[Any, ...]]:
            return list(zip(*(partition.split(item, n, self.dist) for item in items), strict=True))

        result = view._call(
            "apply",
            self.__name__,
            frames=calls.dumps(self.func, (), {}),
            own=own,
            targets=targets,
            single=False,
            kind=AsyncMapResult,
            dist=self.dist,
            ordered=self.ordered,
            return_exceptions=self.return_exceptions,
        )
        return view._result(result, None)

    def map(self, *sequences: Any) -> Any:
        """Call it with each item of the sequences, as the builtin `map`; the shortest one decides."""
        return self._view()._map_parallel(self, sequences)
