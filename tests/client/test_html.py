"""Clients, views and results in notebooks."""

from __future__ import annotations

import os

import pytest
from conftest import N

from mpidirect import Client

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


def test_engines(rc, dview):
    pids = dview.apply_sync(os.getpid)
    for shown in (rc._repr_html_(), dview._repr_html_()):
        assert shown.count("<tr>") == N + 1
        assert all(f"<td>{pid}</td>" in shown for pid in pids)
        assert "idle" in shown and "MiB" in shown
    assert rc[1]._repr_html_().count("<tr>") == 2
    running = rc[0].execute("import time; time.sleep(60)")
    assert "busy" in rc._repr_html_()
    running.interrupt()


def test_a_client_that_is_closed(cluster):
    rc = Client(str(cluster.connection_file))
    rc.close()
    assert "closed" in rc._repr_html_()


def test_a_result(dview):
    result = dview.apply_async(lambda: 1 / rank)  # noqa: F821
    result.wait()
    shown = result._repr_html_()
    assert "failed: ZeroDivisionError" in shown and shown.count("<td>done</td>") == N - 1
    running = dview.execute("import time; time.sleep(60)")
    waiting = dview.execute("1")
    assert running._repr_html_().count("<td>running</td>") == N
    assert waiting._repr_html_().count("<td>queued</td>") == N
    running.interrupt()


def test_errors(dview):
    failed = dview.apply_async(lambda: 1 / (rank // 3))  # noqa: F821
    shown = failed.exception()._repr_html_()
    assert shown.count("<summary>") == 1 and "(3 engines)" in shown and "Traceback" in shown
    part = failed.split()[0].exception()._repr_html_()
    assert "[0:apply]: ZeroDivisionError" in part and "\x1b" not in part
