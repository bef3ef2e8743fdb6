"""Functions in the module that ipyparallel has for them."""

from __future__ import annotations

import re

from .serialize.requirements import interactive

__all__ = ["disambiguate_url", "interactive"]

_ANY_ADDRESS = re.compile(r"(\w+://)(?:\*|0\.0\.0\.0)(:\d+)")


def disambiguate_url(url: str, location: str | None = None) -> str:
    """Return the URL to connect to, for a socket that is bound to all addresses of a host.

    Parameters
    ----------
    url : str
        The URL of the bound socket, such as ``tcp://*:10101``. Other URLs are returned unchanged.
    location : str, optional
        The name or an address of the host; this host if not given.

    Examples
    --------
    >>> disambiguate_url("tcp://*:10101", "node7")
    'tcp://node7:10101'
    """
    found = _ANY_ADDRESS.fullmatch(url)
    return f"{found[1]}{location or '127.0.0.1'}{found[2]}" if found else url
