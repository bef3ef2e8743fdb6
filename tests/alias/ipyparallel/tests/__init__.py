"""The cluster for ipyparallel's own tests, in the place of their `tests/__init__.py`."""

from __future__ import annotations

import os
from typing import Any

from ipyparallel import Client, Cluster

N = 4  # engines with which a test starts
PROFILE = "iptest"
launchers: list[Any] = []  # of single engines, which mpidirect does not have
_running: list[Cluster] = []


def setup() -> None:
    """Start the cluster for a module of tests."""
    _running.append(Cluster(n=N, profile=PROFILE).start().wait())
    with Client(profile=PROFILE) as client:
        _import_modules(client)


def teardown() -> None:
    """Stop the cluster."""
    _running.pop().stop()


def add_engines(n: int = 1, profile: str = PROFILE, total: bool = False) -> list[Any]:
    """Give the cluster `n` more engines, or `n` in all.

    In the setup of a test, a request for up to `N` engines in all restores the cluster.
    """
    begins = os.environ["PYTEST_CURRENT_TEST"].endswith("(setup)")
    with Client(profile=profile) as client:
        live = len(client)
        wanted = live + n if not total else N if begins and n <= N else max(n, live)
        if wanted != live or client.size != live:
            client.resize(wanted, ask=False)
            _import_modules(client)
        return [None] * max(0, wanted - live)


def _import_modules(client: Client) -> None:
    """Import on the engines what functions of the tests refer to: the tests wait a few seconds only."""
    client[:].execute("import IPython, joblib, matplotlib.pyplot, ipyparallel.tests.clienttest", block=True)
