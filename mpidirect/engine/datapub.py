"""Data that a running task publishes, in addition to its result."""

from __future__ import annotations

from typing import Any

from ..protocol.names import PUBLISHED
from ..serialize import pickles
from .output import displays


def publish_data(data: dict[str, Any]) -> None:
    """Publish data of the running task; `AsyncResult.data` returns the data.

    Parameters
    ----------
    data : dict
        Names and values. A later value replaces an earlier value of the same name.

    Examples
    --------
    >>> def simulate(n):
    ...     from mpidirect.datapub import publish_data
    ...     publish_data({"steps": n})
    >>> ar = dview.apply_async(simulate, 10)
    >>> ar.wait()
    >>> ar.data
    [{'steps': 10}, {'steps': 10}]
    """
    if not isinstance(data, dict):
        raise TypeError(f"publish_data takes a dict of names and values, not {type(data).__name__}")
    displays.show({PUBLISHED: [bytes(frame) for frame in pickles.dumps(data)]}, {})
