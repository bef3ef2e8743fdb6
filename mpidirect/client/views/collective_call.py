"""Requests for collectives between the engines of a view."""

from __future__ import annotations

import itertools
import threading
import uuid
from typing import Any
from weakref import WeakKeyDictionary

from ...errors import format_ids
from ...protocol.collective import Collective
from ..results import waiting
from ..results.asyncresult import AsyncResult
from ..session.engines import is_single_target
from ..session.session import Session
from ..type_variables import EngineSelection, Targets
from .requests import RequestView


class _CollectiveOrder:
    """The numbers of a client's collectives, in the order in which the engines get the requests.

    Attributes
    ----------
    client : str
        A name that no other client has.
    numbers : iterator of int
        The next numbers.
    lock : Lock
        Held while a request is numbered and sent.
    """

    def __init__(self) -> None:
        self.client = uuid.uuid4().hex
        self.numbers = itertools.count()
        self.lock = threading.Lock()


_orders: WeakKeyDictionary[Session, _CollectiveOrder] = WeakKeyDictionary()


class CollectiveView(RequestView[Targets]):
    """A view whose engines can call collectives."""

    def _collective(
        self,
        kind: str,
        name: str = "",
        out: str | None = None,
        root: int | None = None,
        option: Any = None,
        *,
        targets: EngineSelection,
        block: bool | None,
        result_type: type[AsyncResult] = AsyncResult,
        single: bool | None = None,
        gathers: bool = False,
    ) -> Any:
        """Request a collective: see `Collective` and `_request` for the parameters."""
        targets = self.targets if targets is None else targets
        group = self._session.engines.resolve(targets)
        if kind != "barrier":
            _check_names(name, out)
        root = _check_root(root, group)
        if single is None:
            single = is_single_target(targets)
        order = _orders.setdefault(self._session, _CollectiveOrder())
        with order.lock:
            number = next(order.numbers)
            collective = Collective(kind, order.client, number, group, name, out or name, root, option)
            result = self._request(
                "collective",
                kind,
                tuple(collective),
                targets=group,
                block=False,
                kind=result_type,
                single=single,
                gathers=gathers,
            )
        for call in result._calls:
            call.is_collective = True
        if self.block if block is None else block:
            waiting.wait(result)
        return self._values_if_blocking(result, block)


def _check_names(name: str, out: str | None) -> None:
    for text in (name, out):
        if text is not None and not (isinstance(text, str) and text.isidentifier()):
            raise ValueError(f"{text!r} can't be a name on the engines: it is no Python identifier")


def _check_root(root: int | None, group: list[int]) -> int:
    if root is None:
        return group[0]
    if isinstance(root, bool) or not hasattr(root, "__index__"):
        raise TypeError(f"root must be the id of an engine, not {root!r}")
    if root.__index__() not in group:
        raise ValueError(f"root must be one of the view's engines ({format_ids(group)}), not {root}")
    return root.__index__()
