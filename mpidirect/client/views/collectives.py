"""MPI's collectives between the engines of a view, on names in their namespaces."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from ..type_variables import EngineSelection, Targets
from .reductions import Reductions


class Collectives(Reductions[Targets]):
    """The collectives of a view.

    Each collective works on a name that the engines of the view have, and moves data from engine to engine:
    no byte passes through the client or the controller. Where order matters, the engines have the order of
    the view's targets; `root` is an engine id.

    An array without object references moves by buffer, any other value by pickle. When an engine can't take
    part, all engines raise an error, and the `CompositeError` names that engine.
    """

    def barrier(self, *, targets: EngineSelection = None, block: bool | None = None) -> Any:
        """Wait until all engines have reached this point.

        Parameters
        ----------
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.

        Examples
        --------
        >>> dview.barrier(block=True)
        [None, None, None, None]
        """
        return self._collective("barrier", targets=targets, block=block)

    def bcast(
        self,
        name: str,
        root: int | None = None,
        out: str | None = None,
        *,
        targets: EngineSelection = None,
        block: bool | None = None,
    ) -> Any:
        """Give every engine the root's value of `name`.

        Parameters
        ----------
        name : str
            Only the root needs to have it.
        root : int, optional
            The engine id of the root; by default the first engine of the view.
        out : str, optional
            The name of the copies; by default `name`.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.

        Examples
        --------
        >>> rc[0].push({"x": [1, 2]})
        >>> dview.bcast("x", root=0)
        >>> dview["x"]
        [[1, 2], [1, 2], [1, 2], [1, 2]]
        """
        return self._collective("bcast", name, out, root, targets=targets, block=block)

    def scatter_from(
        self,
        name: str,
        root: int | None = None,
        out: str | None = None,
        counts: Sequence[int] | None = None,
        *,
        targets: EngineSelection = None,
        block: bool | None = None,
    ) -> Any:
        """Cut a sequence of the root along its first axis and give each engine a part: MPI's Scatterv.

        `scatter` does this with a sequence of the client.

        Parameters
        ----------
        name : str
            An array, a list or another sequence, on the root.
        root : int, optional
            The engine id of the root; by default the first engine of the view.
        out : str, optional
            The name of the parts; by default `name`, so that the root keeps its part only.
        counts : sequence of int, optional
            The number of items of each engine; by default even parts, the remainder to the first engines.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.

        Examples
        --------
        >>> rc[0].execute("x = np.arange(5)")
        >>> dview.scatter_from("x", root=0, out="part")
        >>> dview["part"]
        [array([0, 1]), array([2]), array([3]), array([4])]
        """
        return self._collective(
            "scatter_from", name, out, root, _check_counts(counts), targets=targets, block=block
        )

    def gather_to(
        self,
        name: str,
        root: int | None = None,
        out: str | None = None,
        *,
        targets: EngineSelection = None,
        block: bool | None = None,
    ) -> Any:
        """Put the engines' parts together on the root: MPI's Gatherv.

        `gather` does this at the client, and joins parts in the same way: arrays along their first axis
        (their lengths may differ), lists to a list, and other values become the items of a list.

        Parameters
        ----------
        name : str
            The parts.
        root : int, optional
            The engine id of the root; by default the first engine of the view.
        out : str, optional
            The name of the whole, on the root only; by default `name`, so that the others keep their parts.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.

        Examples
        --------
        >>> dview.gather_to("rank", root=2, out="ranks")
        >>> rc[2]["ranks"]
        [0, 1, 2, 3]
        """
        return self._collective("gather_to", name, out, root, targets=targets, block=block)

    def allgather(
        self, name: str, out: str | None = None, *, targets: EngineSelection = None, block: bool | None = None
    ) -> Any:
        """Put the engines' parts together on every engine: MPI's Allgatherv.

        Parameters
        ----------
        name : str
            The parts, joined as by `gather_to`; arrays may differ in their first length.
        out : str, optional
            The name of the whole; by default `name`.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.

        Examples
        --------
        >>> dview.execute("x = np.arange(rank)")
        >>> dview.allgather("x", out="y")
        >>> rc[1]["y"]
        array([0, 0, 1, 0, 1, 2])
        """
        return self._collective("allgather", name, out, targets=targets, block=block)

    def alltoall(
        self, name: str, out: str | None = None, *, targets: EngineSelection = None, block: bool | None = None
    ) -> Any:
        """Give the k-th engine the k-th part of every engine's sequence: MPI's Alltoallv.

        Parameters
        ----------
        name : str
            A sequence on each engine, which is cut into a part for each engine, as by `scatter`.
        out : str, optional
            The name of the joined parts; by default `name`.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.

        Examples
        --------
        >>> dview.execute("x = [(rank, k) for k in range(size)]")
        >>> dview.alltoall("x", out="y")
        >>> rc[1]["y"]
        [(0, 1), (1, 1), (2, 1), (3, 1)]
        """
        return self._collective("alltoall", name, out, targets=targets, block=block)

    def redistribute(
        self,
        name: str,
        counts: Sequence[int] | str = "even",
        out: str | None = None,
        *,
        targets: EngineSelection = None,
        block: bool | None = None,
    ) -> Any:
        """Change how many items of a spread sequence each engine has; the whole and its order stay.

        Parameters
        ----------
        name : str
            The parts: arrays, along their first axis, or lists.
        counts : 'even' or sequence of int
            The number of items that each engine gets.
        out : str, optional
            The name of the new parts; by default `name`.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.

        Examples
        --------
        >>> dview.execute("a = np.arange(rank)")
        >>> dview.redistribute("a", "even")
        >>> dview["a"]
        [array([0, 0]), array([1, 0]), array([1]), array([2])]
        """
        if isinstance(counts, str):
            if counts != "even":
                raise ValueError(f"counts must be 'even' or a sequence of int, not {counts!r}")
            option = None
        else:
            option = _check_counts(counts)
        return self._collective("redistribute", name, out, option=option, targets=targets, block=block)


def _check_counts(counts: Sequence[int] | None) -> list[int] | None:
    """Return the counts as a list of int; raise an error if one is no count."""
    if counts is None:
        return None
    try:
        numbers = [operator.index(count) for count in counts]
    except TypeError:
        raise TypeError(f"counts must be a sequence of int, not {counts!r}") from None
    if any(number < 0 for number in numbers):
        raise ValueError(f"counts can't be negative: {numbers}")
    return numbers
