"""What a cell of source code returns from an engine."""

from __future__ import annotations

from typing import Any


class CellResult(dict[str, Any]):
    """The prompt number (``execution_count``) and the value in its formats (``result``).

    By this class, a client that fetches the result of another client's call finds that the call ran a cell.
    """
