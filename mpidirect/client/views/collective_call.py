"""How a view asks its engines for a collective."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from ...errors import format_ids
from ...protocol.collective import Collective
from ..interface import ClientInterface
from ..results import waiting
from ..results.asyncresult import AsyncResult
from ..session.engines import is_single_target
from ..session.session import Session


class _Caller:
    """What a client's collectives carry, so that engines can tell them apart and know their order."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        self.numbers = itertools.count()
        self.order = threading.Lock()  # held while a call is numbered and sent


_callers: WeakKeyDictionary[Session, _Caller] = WeakKeyDictionary()


class CollectiveCalls:
    """What all collectives of a view have in common."""

    client: ClientInterface
    _session: Session
    targets: Any
    block: bool | None
    _call: Callable[..., AsyncResult]
    _result: Callable[..., Any]

    def _collective(
        self,
        kind: str,
        name: str = "",
        out: str | None = None,
        root: int | None = None,
        option: Any = None,
        *,
        targets: Any,
        block: bool | None,
    ) -> Any:
        chosen = self.targets if targets is None else targets
        group = self._session.engines.resolve(chosen)
        for text in (name, out):
            if text is not None and kind != "barrier" and not (isinstance(text, str) and text.isidentifier()):
                raise ValueError(f"{text!r} can't be a name on the engines: it is no Python identifier")
        root = _check_root(root, group)
        single = is_single_target(chosen)
        caller = _callers.setdefault(self._session, _Caller())
        with caller.order:
            number = next(caller.numbers)
            ask = Collective(kind, caller.name, number, group, name, out or name, root, option)
            result = self._call("collective", kind, tuple(ask), targets=group, block=False, single=single)
        for call in result._calls:
            call.together = True
        if self.block if block is None else block:
            waiting.wait(result)
        return self._result(result, block)


def _check_root(root: int | None, group: list[int]) -> int:
    if root is None:
        return group[0]
    if isinstance(root, bool) or not hasattr(root, "__index__"):
        raise TypeError(f"root must be the id of an engine, not {root!r}")
    if root.__index__() not in group:
        raise ValueError(f"root must be one of the view's engines ({format_ids(group)}), not {root}")
    return root.__index__()
