"""The user's side: the client, its views and its results."""

from ..dependency import Reference, interactive, require
from .asyncmapresult import AsyncMapResult
from .asyncresult import AsyncResult
from .client import Client
from .view import DirectView

__all__ = ["AsyncMapResult", "AsyncResult", "Client", "DirectView", "Reference", "interactive", "require"]
