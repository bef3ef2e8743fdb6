"""Components that tests need beside Python packages: schedulers, an ssh server, system libraries."""

from __future__ import annotations

import os

import pytest


def absent(what):
    """Skip the test because a component is missing; fail instead if ``CI`` is true."""
    if os.environ.get("CI") == "true":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)
