"""What the tests need beside Python packages: schedulers, an ssh server, libraries of the distribution."""

from __future__ import annotations

import os

import pytest


def absent(what):
    """Leave out the test, as a component is not here; fail where everything has to be tested."""
    if os.environ.get("CI") == "true":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)
