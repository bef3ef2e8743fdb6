"""The types whose pickles are the same with every pickler."""

from __future__ import annotations

PLAIN_TYPES = frozenset({type(None), bool, int, float, complex, str, bytes, range})
