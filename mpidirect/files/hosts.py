"""Host names."""

from __future__ import annotations

import socket


def is_this_host(name: str) -> bool:
    """Whether `name` is the name of the host that this process runs on."""
    return name == socket.gethostname()
