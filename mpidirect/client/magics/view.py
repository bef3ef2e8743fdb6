"""The part of a direct view that the magics use."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..interface import ClientInterface
from ..results.asyncresult import AsyncResult
from ..type_variables import EngineSelection


class MagicView(Protocol):
    """A view that runs code on engines: see `DirectView`."""

    client: ClientInterface
    targets: EngineSelection
    block: bool | None
    history: list[str]

    def execute(self, code: str, silent: bool = True, *, block: bool | None = None) -> AsyncResult:
        """Run code on the engines."""

    def debug(self, engine: int | None = None) -> None:
        """Debug the last error of an engine at the prompt."""

    def get_result(self, indices_or_msg_ids: Any = None, block: bool | None = None) -> AsyncResult:
        """Return a result by its index in the history."""

    def temp_flags(self, **flags: Any) -> AbstractContextManager[Any]:
        """Set flags for the length of a ``with`` block."""
