"""The types of which every pickler writes the same pickle."""

from __future__ import annotations

PLAIN_TYPES = frozenset({type(None), bool, int, float, complex, str, bytes, range})
