"""Progress bars and reports on long operations, on a terminal and in a notebook."""

from __future__ import annotations

import io
import os
import signal
import sys
import time

import numpy as np
import pexpect
import pytest
from conftest import occupied
from proxy import Proxy

from mpidirect import Client
from mpidirect.client.display import bars, progress
from mpidirect.client.display.progress import ProgressBar, bar_text
from mpidirect.client.display.units import size_in_words
from mpidirect.client.results import transfer_progress
from mpidirect.client.results.transfer_progress import TransferProgress
from mpidirect.errors import Interrupted

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


@pytest.fixture
def slow_network(remote):
    """Slow the way from the client to the controller."""

    def slowly(data):
        time.sleep(0.002)
        return data

    remote.proxy.mutate(slowly)


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that makes a terminal with a prompt; transfers show progress there at once."""

    def make():
        terminal = Terminal()
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(transfer_progress, "REPORT_DELAY", 0.0)
        monkeypatch.setattr(transfer_progress, "REPORT_INTERVAL", 0.0)
        return terminal

    return make


@pytest.fixture
def lines(monkeypatch):
    """The reports of transfers: the bytes that have moved, the total, and the direction."""
    shown = []
    line = TransferProgress._line

    def noted(self):
        shown.append(self._leg)
        return line(self)

    monkeypatch.setattr(TransferProgress, "_line", noted)
    return shown


def slow_engines(view):
    """Let engines receive and report data in small pieces, slowly; return a function that undoes this."""

    def change():
        import time

        from mpidirect.engine.bulk_data import Arrival
        from mpidirect.memory import process_memory

        def add(self, size):
            self._moved += size
            Arrival.latest = self._moved
            time.sleep(0.05)
            self._report(self._moved)

        Arrival.fast_add, Arrival.add = Arrival.add, add
        process_memory._PIECE //= 64

    def undo():
        from mpidirect.engine.bulk_data import Arrival
        from mpidirect.memory import process_memory

        Arrival.add = Arrival.fast_add
        process_memory._PIECE *= 64

    view.apply_sync(change)
    return lambda: view.apply_sync(undo)


@pytest.fixture
def slow(rc):
    """Slow engines."""
    undo = slow_engines(rc[:])
    yield
    undo()


def test_a_large_push_shows_bytes_and_their_rate(remote, slow_network, terminal):
    screen = terminal()
    remote[0].push({"a": np.zeros(40_000_000, np.uint8)}, block=True)  # acknowledged every 8 MiB
    text = screen.getvalue()
    assert "push ━" in text and "of 40.0 MB, " in text and "MB/s" in text


def test_a_push_by_direct_memory_shows_the_read_bytes(rc, terminal, lines, slow):
    screen = terminal()
    assert rc._session.connection.direct
    rc[:2].push({"a": np.zeros(40_000_000, np.uint8)}, block=True)
    text = screen.getvalue()
    assert "push ━" in text and "of 80.0 MB, " in text and "MB/s" in text
    assert {leg.total for leg in lines} == {80_000_000}
    assert [leg.done for leg in lines] == sorted(leg.done for leg in lines)


@pytest.fixture
def ctrl_c(monkeypatch):
    """Press Ctrl-C when a transfer first shows its progress."""
    line = TransferProgress._line

    def interrupted(self):
        monkeypatch.setattr(TransferProgress, "_line", line)
        os.kill(os.getpid(), signal.SIGINT)
        return line(self)

    monkeypatch.setattr(TransferProgress, "_line", interrupted)


def test_ctrl_c_ends_a_push_by_a_slow_network(remote, terminal, ctrl_c):
    terminal()
    passed = []

    def slowly(data):
        time.sleep(0.002)
        passed.append(len(data))
        return data

    remote.proxy.mutate(slowly)
    with pytest.raises(Interrupted, match=r"engines 0-3: (aborted before it began|ended before its data)"):
        remote[:].push({"a": np.zeros(200_000_000, np.uint8)}, block=True)
    assert remote[:].apply_sync(lambda: "a" in globals()) == [False] * 4
    assert sum(passed) < 150_000_000


def test_ctrl_c_ends_a_push_that_engines_read(rc, terminal, ctrl_c, slow):
    terminal()
    with pytest.raises(Interrupted, match="engines 0-1: aborted before it began"):
        rc[:2].push({"a": np.zeros(200_000_000, np.uint8)}, block=True)
    assert rc[:2].apply_sync(lambda: "a" in globals()) == [False] * 2

    def arrived():
        from mpidirect.engine.bulk_data import Arrival

        return getattr(Arrival, "latest", 0)  # an engine may not have begun

    assert max(rc[:2].apply_sync(arrived)) < 150_000_000


def test_a_scatter_shows_the_bytes_of_all_parts(rc, terminal, lines, slow):
    screen = terminal()
    rc[:].scatter("a", np.zeros(5_000_000), block=True)
    assert "of 40.0 MB, " in screen.getvalue() and {leg.total for leg in lines} == {40_000_000}


def test_arguments_of_a_function_count_as_well(rc, terminal, slow):
    screen = terminal()
    assert rc[1].apply_sync(len, np.zeros(40_000_000, np.uint8)) == 40_000_000
    assert "len ━" in screen.getvalue() and "of 40.0 MB, " in screen.getvalue()


@pytest.mark.alone
def test_data_that_comes_over_mpi_shows_what_engines_have(remote, slow_network, terminal, lines, slow):
    screen = terminal()
    remote[:2].push({"a": np.zeros(40_000_000, np.uint8)}, block=True)
    assert {leg.total for leg in lines} == {40_000_000, 80_000_000}  # to the controller, to the engines
    text = screen.getvalue()
    assert "MB/s → controller" in text and "MB/s → engines" in text


def test_an_assignment_shows_its_data_as_well(rc, terminal, lines, slow):
    screen = terminal()
    rc[:2]["a"] = np.zeros(40_000_000, np.uint8)
    assert "push ━" in screen.getvalue() and "of 80.0 MB, " in screen.getvalue()
    assert {leg.total for leg in lines} == {80_000_000}


@pytest.mark.parametrize("call", ["gather", "pull"])
def test_results_by_direct_memory_show_the_read_bytes(rc, terminal, lines, call):
    screen = terminal()
    rc[:].scatter("a", np.zeros(10_000_000), block=True)
    del lines[:]
    getattr(rc[:], call)("a", block=True)
    assert lines[-1].done == 80_000_000 and {leg.total for leg in lines} <= {0, 80_000_000}
    assert call == "pull" or lines[0].total == 80_000_000
    assert f"{call} " in screen.getvalue()


@pytest.mark.parametrize("call", ["gather", "pull"])
def test_results_by_the_controller_have_a_known_total(remote, terminal, lines, call):
    terminal()
    remote[:].scatter("a", np.zeros(10_000_000), block=True)
    del lines[:]
    getattr(remote[:], call)("a", block=True)
    received = [leg for leg in lines if leg.name == "back"]
    assert received[-1][1:] == (80_000_000, 80_000_000) and received[0].done < 10_000_000
    assert {leg.total for leg in received} <= {0, 80_000_000}


def test_small_calls_and_other_streams_show_nothing(rc, terminal, lines, monkeypatch):
    screen = terminal()
    rc[:].push({"a": 1}, block=True)
    rc[:].apply_sync(abs, -1)
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    rc[:].push({"a": np.zeros(10_000_000)}, block=True)
    rc[:].pull("a", block=True)
    assert not lines and not screen.getvalue() and "━" not in file.getvalue()


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


@pytest.fixture
def counts(monkeypatch, tmp_path):
    """What a bar shows: done and total; when that is the first entry, the file "go on" appears."""
    shown = []

    def update(self, text, done, total):
        shown.append((done, total))
        if done == shown[0]:
            (tmp_path / "go on").touch()

    monkeypatch.setattr(progress.ProgressBar, "update", update)
    return shown


def test_a_map_counts_items_within_the_parts_of_engines(rc, counts, tmp_path):
    wait = occupied(tmp_path)
    counts.append(20)  # five on each engine

    def fifth_waits(item, other):
        if item % 10 == 5:
            wait()
        return item

    assert rc[:].map(fifth_waits, range(40), range(99), block=True, progress=True) == [*range(40)]
    assert counts[1] == (0, 40) and (20, 40) in counts and counts[-1] == (40, 40)


def test_a_map_over_free_engines_counts_items(rc, counts, tmp_path):
    wait = occupied(tmp_path)
    counts.append(6)

    def last_waits(item):
        if item == 7:
            wait()
        return item

    lview = rc.load_balanced_view()
    assert lview.map(last_waits, range(8), chunksize=2, block=True, progress=True) == [*range(8)]
    assert {total for _, total in counts[1:]} == {8} and (6, 8) in counts and counts[-1] == (8, 8)


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
