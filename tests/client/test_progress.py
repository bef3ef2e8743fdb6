"""Bars and lines about what takes long, on a terminal and in a notebook."""

from __future__ import annotations

import io
import os
import sys
import time

import numpy as np
import pexpect
import pytest
from proxy import Proxy

from mpidirect import Client
from mpidirect.client.connection.traffic import traffic
from mpidirect.client.display import bars, progress
from mpidirect.client.display.progress import ProgressBar, bar_text
from mpidirect.client.display.units import size_in_words
from mpidirect.client.results import waiting

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def remote(cluster, monkeypatch):
    """A client that sends all data by the connection, as from another host."""
    monkeypatch.setenv("MPIDIRECT_DIRECT_MEMORY", "0")
    with Proxy(cluster.connection_file) as proxy, Client(proxy.info, timeout=20) as client:
        client.proxy = proxy
        yield client


def test_a_large_push_shows_bytes_and_their_rate(remote, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(waiting, "TRANSFER_REPORT_DELAY", 0.1)

    def slowly(data):
        time.sleep(0.002)
        return data

    remote.proxy.mutate(slowly)
    remote[0].push({"a": np.zeros(40_000_000, np.uint8)}, block=True)  # acknowledged every 8 MiB
    text = terminal.getvalue()
    assert "push ━" in text and "of 40.0 MB, " in text and "MB/s" in text
    remote.proxy.mutate(None)
    del remote[0]["a"]


def test_received_bytes_are_counted(remote):
    before = traffic.received
    remote[:].scatter("a", np.zeros(1_000_000), block=True)
    assert len(remote[:].gather("a", block=True)) == 1_000_000
    assert traffic.received - before == 8_000_000


def test_a_bar_waits_for_its_delay_and_is_silent_without_a_terminal():
    terminal, file = Terminal(), io.StringIO()
    for stream, delay in ((terminal, 100), (file, 0)):
        with ProgressBar("work", 2, stream=stream, delay=delay) as bar:
            bar.update("work", 1, 2)
        assert stream.getvalue() == ""
    with ProgressBar("work", 2, stream=terminal) as bar:
        bar.update("[more] work", 2, 2)
    assert "[more] work" in terminal.getvalue() and "2/2" in terminal.getvalue()


def test_a_bar_in_a_notebook_is_one_display_that_is_updated(monkeypatch):
    shown = []

    class Handle:
        def update(self, data, raw):
            shown.append(data)

    def display(data, raw, display_id):
        shown.append(data)
        return Handle()

    monkeypatch.setattr(progress, "in_kernel", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    with ProgressBar("work", 4) as bar:
        bar.update("a < b", 4, 4)
    assert '<progress value="0" max="4">' in shown[0]["text/html"]
    assert '<progress value="4" max="4"></progress> a &lt; b 4/4' in shown[-1]["text/html"]
    assert shown[-1]["text/plain"].startswith("━" * 30)


def test_bars_and_sizes_as_text():
    assert bar_text(1, 3) == "━" * 10 + "╌" * 20
    assert bar_text(0, 0) == "╌" * 30
    assert [size_in_words(s) for s in (5, 1500, 2e15)] == ["5 bytes", "1.5 kB", "2000.0 TB"]
    assert not bars.in_kernel()


def test_the_start_of_a_cluster_at_a_prompt_shows_a_bar(tmp_path):
    python = pexpect.spawn(
        sys.executable,
        ["-i", "-c", "from mpidirect import Cluster; import mpidirect.cluster.cluster as c; c.BAR_DELAY = 0"],
        env={**os.environ, "MPIDIRECT_DIR": str(tmp_path / "home"), "TERM": "xterm"},
        encoding="utf-8",
        timeout=60,
    )
    python.expect(">>> ")
    python.sendline("rc = Cluster(n=1).start_and_connect_sync()")
    python.expect("waiting for the controller")
    python.expect(">>> ")
    python.sendline("rc.ids")
    python.expect(r"\[0\]")
    python.sendline("rc.shutdown(block=True); exit()")
    python.expect(pexpect.EOF)
