"""mpidirect has the public names of ipyparallel, or the documents give the reason."""

from __future__ import annotations

import subprocess
import sys

import pytest
from waiting import LIMIT

pytest.importorskip("ipyparallel")

from tests import surface

pytestmark = pytest.mark.openmpi_only


def test_each_absence_has_a_reason():
    assert [name for name, what, why in surface.rows() if what == "absent" and not why] == []


def test_the_reasons_are_for_existing_names():
    known = {name: what for name, what, _ in surface.rows()}
    assert [name for name in surface.ABSENT if known.get(name) != "absent"] == []
    assert [name for name in surface.DIFFERENT if known.get(name, "different") != "different"] == []


def test_the_page_has_the_table():
    assert surface.PAGE.read_text() == surface.page(surface.PAGE.read_text()), "python -m tests.surface"


def test_the_alias_is_imported():
    code = (
        "import sys, mpidirect; sys.modules['ipyparallel'] = mpidirect; import ipyparallel as ipp; "
        "from ipyparallel.error import CompositeError; ipp.LoadBalancedView"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_modules_are_reached_from_the_package_as_in_ipyparallel():
    """Run in a new process, because the modules are already imported here."""
    names = (
        *("client.view.ViewExecutor", "client.asyncresult.AsyncResult", "client.remotefunction.remote"),
        *("util.interactive", "serialize.serialize_object", "cluster.Cluster", "error.CompositeError"),
    )
    for package in ("ipyparallel", "mpidirect"):
        code = f"import {package} as ipp; print({', '.join(f'ipp.{name}.__name__' for name in names)})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT)
        assert done.stdout.split() == [name.rpartition(".")[2] for name in names], done.stderr
