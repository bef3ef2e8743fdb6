"""A map over iterables of any length: an item is taken when an engine becomes free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any

from ..results.balancedresult import BalancedMapResult
from ..type_variables import Item

_MAX_GROUP = 256  # maximum items of one request


class LazyMap(Iterator[Item]):
    """The results of `LoadBalancedView.imap`.

    Parameters
    ----------
    submit : callable
        Submits lists of arguments, as `map` does; returns the result of the tasks.
    wait : callable
        Waits until the given condition holds.
    items : iterable of tuple
        The arguments of each task.
    max_outstanding : int
        The number of tasks that may be under way.
    ordered : bool
        Yield results in the order of the items, not as they arrive.

    Examples
    --------
    >>> for value in lview.imap(simulate, itertools.count()):
    ...     print(value)
    """

    def __init__(
        self,
        submit: Callable[..., BalancedMapResult[Item]],
        wait: Callable[[Callable[[], bool]], Any],
        items: Iterable[tuple[Any, ...]],
        max_outstanding: int,
        ordered: bool,
    ) -> None:
        self._submit = submit
        self._wait = wait
        self._items = iter(items)
        self._pending: deque[BalancedMapResult[Item]] = deque()
        self._max_outstanding = max_outstanding
        self._group = max(1, min(max_outstanding // 4, _MAX_GROUP))
        self._values = self._generate(ordered)

    def __next__(self) -> Item:
        return next(self._values)

    def cancel(self) -> None:
        """Take no more items; the results of tasks under way can still be read.

        Examples
        --------
        >>> values = lview.imap(simulate, itertools.count())
        >>> values.cancel()
        >>> list(values)
        """
        self._items = iter(())

    def close(self) -> None:
        """Take no more items, and abort the tasks that have not begun.

        Examples
        --------
        >>> lview.imap(simulate, itertools.count()).close()
        """
        self.cancel()
        self._values.close()
        for result in self._pending:
            if not result.ready():
                result.abort()
        self._pending.clear()

    def _fill(self) -> None:
        """Submit groups of items up to the limit of tasks under way."""
        outstanding = sum(map(len, self._pending))
        while outstanding + self._group <= self._max_outstanding:
            group = list(islice(self._items, self._group))
            if not group:
                return
            self._pending.append(self._submit(*map(list, zip(*group, strict=True))))
            outstanding += len(group)

    def _any_ready(self) -> bool:
        return any(result.ready() for result in self._pending)

    def _generate(self, ordered: bool) -> Generator[Item, None, None]:
        pending = self._pending
        while True:
            self._fill()
            if not pending:
                return
            if not ordered and not self._any_ready():
                self._wait(self._any_ready)
            result = pending[0] if ordered else next(result for result in pending if result.ready())
            yield from result
            pending.remove(result)
