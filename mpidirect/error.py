"""The errors under the name that ipyparallel gives this module; see `mpidirect.errors`."""

from __future__ import annotations

from .errors import *  # noqa: F403
from .errors import __all__ as __all__


def __dir__() -> list[str]:
    return sorted(__all__)
