"""Waiting for what must become true."""

from __future__ import annotations

import time

LIMIT = 60  # seconds, on a machine that does other things as well


def until(condition, limit=LIMIT):
    """Wait until `condition()` is true; return what it returned."""
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.01)
    return found
