"""The results of calls, under the name that ipyparallel gives this module."""

from __future__ import annotations

from .results.asyncmapresult import AsyncMapResult
from .results.asyncresult import AsyncResult
from .results.hubresult import AsyncHubResult

__all__ = ["AsyncHubResult", "AsyncMapResult", "AsyncResult"]
