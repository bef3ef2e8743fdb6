"""Data that a task publishes while it runs, under the name that ipyparallel gives this module."""

from __future__ import annotations

from .engine.datapub import publish_data

__all__ = ["publish_data"]
