"""How a client finds the `Cluster` of its profile, although clusters are in a package above the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

cluster_of_profile: Callable[[str], Any]  # set by the package itself when it is imported
