"""The decorator `interactive`, in the module that ipyparallel has for it."""

from __future__ import annotations

from .serialize.requirements import interactive

__all__ = ["interactive"]
