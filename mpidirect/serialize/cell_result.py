"""The result of a cell of source code on an engine."""

from __future__ import annotations

from typing import Any


class CellResult(dict[str, Any]):
    """The prompt number (``execution_count``) and the value in its formats (``result``).

    By this class, a client that fetches the result of another client's call knows that the call ran a cell.
    """
