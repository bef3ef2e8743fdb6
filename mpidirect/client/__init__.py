"""The user's side: the client, its views and its results."""

from ..serialize.reference import Reference
from ..serialize.requirements import interactive, require
from .client import Client
from .results.asyncmapresult import AsyncMapResult
from .results.asyncresult import AsyncResult
from .views.directview import DirectView

__all__ = ["AsyncMapResult", "AsyncResult", "Client", "DirectView", "Reference", "interactive", "require"]
