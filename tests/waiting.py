"""Waits for conditions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

LIMIT = 60  # seconds, on a machine with other work


def until(condition: Callable[[], Any], limit: float = LIMIT) -> Any:
    """Wait until `condition()` is true; return its value."""
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.01)
    return found


def until_running(rc, targets=None) -> None:
    """Wait until each of the engines runs a task."""
    until(lambda: all(rc.where(targets).values()))


def until_assigned(rc, targets: list[int] | None = None) -> None:
    """Wait until each of the engines has a task; the task may hold Python's lock."""
    until(lambda: all(rc.queue_status(engine)["tasks"] for engine in targets or rc.ids))
