"""MPI's reductions between the engines of a view."""

from __future__ import annotations

from typing import Any

from ..type_variables import EngineSelection, Targets
from . import operators
from .collective_call import CollectiveView


class Reductions(CollectiveView[Targets]):
    """The reductions of a view: see `Collectives`."""

    def reduce(
        self,
        name: str,
        op: Any = "sum",
        root: int | None = None,
        out: str | None = None,
        *,
        targets: EngineSelection = None,
        block: bool | None = None,
    ) -> Any:
        """Combine the engines' values on the root.

        Parameters
        ----------
        name : str
            The values. For an operation with a name, arrays must have one shape and dtype, and are combined
            elementwise.
        op : str or callable
            ``sum``, ``prod``, ``max``, ``min``, ``land``, ``lor``, ``lxor``, ``band``, ``bor``, ``bxor``;
            ``maxloc``, ``minloc``, which give a pair of the value and the engine that has it, or compare
            pairs where the values are pairs; a function that stands for one of them, such as
            `operator.add` or `numpy.maximum`; or any function of two values, called in the order of the
            engines: ``f(f(f(x0, x1), x2), x3)``.
        root : int, optional
            The engine id of the root; by default the first engine of the view.
        out : str, optional
            The name of the result, on the root only; by default `name`.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.

        Examples
        --------
        >>> dview.reduce("rank", "max", root=1, out="y")
        >>> rc[1]["y"]
        3
        """
        option = operators.encode_operation(op)
        return self._collective("reduce", name, out, root, option, targets=targets, block=block)

    def allreduce(
        self,
        name: str,
        op: Any = "sum",
        out: str | None = None,
        *,
        targets: EngineSelection = None,
        block: bool | None = None,
    ) -> Any:
        """Combine the engines' values on every engine.

        Parameters
        ----------
        name : str
            The values; see `reduce`.
        op : str or callable
            See `reduce`.
        out : str, optional
            The name of the result; by default `name`. An array that has this name already and fits is
            written to, as MPI does, instead of a new one.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.

        Examples
        --------
        >>> dview.allreduce("rank", out="y")
        >>> dview["y"]
        [6, 6, 6, 6]
        """
        option = operators.encode_operation(op)
        return self._collective("allreduce", name, out, option=option, targets=targets, block=block)

    def scan(
        self,
        name: str,
        op: Any = "sum",
        out: str | None = None,
        *,
        targets: EngineSelection = None,
        block: bool | None = None,
    ) -> Any:
        """Combine on each engine its value with those of all engines before it.

        Parameters
        ----------
        name, op, out
            As for `allreduce`.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.

        Examples
        --------
        >>> dview.scan("rank", out="y")
        >>> dview["y"]
        [0, 1, 3, 6]
        """
        option = operators.encode_operation(op)
        return self._collective("scan", name, out, option=option, targets=targets, block=block)

    def exscan(
        self,
        name: str,
        op: Any = "sum",
        out: str | None = None,
        *,
        targets: EngineSelection = None,
        block: bool | None = None,
    ) -> Any:
        """Combine on each engine the values of all engines before it, without the engine's own value.

        Parameters
        ----------
        name, op, out
            As for `allreduce`; the first engine, which has none before it, gets None.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.

        Examples
        --------
        >>> dview.exscan("rank", out="y")
        >>> dview["y"]
        [None, 0, 1, 3]
        """
        option = operators.encode_operation(op)
        return self._collective("exscan", name, out, option=option, targets=targets, block=block)
