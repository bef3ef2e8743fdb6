"""Pictures and reports of calls."""

from __future__ import annotations

import time

import pytest
from waiting import until

from mpidirect import Client, interactive
from mpidirect.client.session import call_log
from mpidirect.client.session.call_log import CallLog, imbalance

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@interactive
def fail_on_1():
    assert rank != 1  # noqa: F821


def test_a_timeline_has_a_bar_for_each_state_of_each_engine(dview):
    failed = dview.apply_async(fail_on_1)
    failed.wait()
    figure = failed.timeline()
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "1", "2", "3"]
    states = {container.get_label(): len(container) for container in axes.containers}
    assert states == {"waiting": 4, "done": 3, "failed": 1}
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_saved_timeline_has_all_of_its_texts(dview, tmp_path):
    figure = dview.apply_async(abs, -1).timeline()
    figure.savefig(tmp_path / "timeline.png")
    axes = figure.axes[0]
    for artist in (axes.get_legend(), axes.xaxis.label, axes.yaxis.label, axes.title):
        box = artist.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


def test_a_timeline_of_a_call_that_runs(dview):
    ar = dview.apply_async(time.sleep, 60)
    states = {c.get_label(): len(c) for c in ar.timeline().axes[0].containers}
    assert states == {"running": 4}
    ar.interrupt()


def test_a_timeline_of_load_balanced_tasks(rc):
    ar = rc.load_balanced_view().map_async(abs, range(-20, 0), chunksize=1)
    ar.wait()
    containers = ar.timeline().axes[0].containers
    assert [container.get_label() for container in containers] == ["done"]


def test_a_report_is_one_file_with_the_calls_of_the_session(cluster, tmp_path):
    with Client(str(cluster.connection_file)) as rc:
        assert "No call has ended yet" in rc.report(tmp_path / "empty.html").read_text()
        rc[:].apply_sync(time.sleep, 0.05)
        rc[:].push({"a": bytes(100_000)}, block=True)
        rc[:].apply_async(fail_on_1).wait()
        rc.load_balanced_view().map_sync(abs, range(100))
        text = rc.report(tmp_path / "report.html").read_text()
        rc[:].clear(block=True)
    assert "4 calls, of which 1 failed" in text
    assert "Sent: 10" in text  # kB
    assert '<tr class="failed"><td>' in text and "fail_on_1" in text and "sleep" in text
    assert "Load imbalance: " in text and "engine 3</text>" in text and 'class="failed" x=' in text
    assert "http" not in text  # the page loads nothing


def test_names_of_the_user_are_escaped(rc, tmp_path):
    def f():
        pass

    f.__name__ = "<script>"
    rc[0].apply_sync(f)
    assert "<script>" not in rc.report(tmp_path / "report.html").read_text()


def test_the_log_is_bounded(rc, monkeypatch):
    monkeypatch.setattr(call_log, "MAX_PARTS", 10)
    monkeypatch.setattr(call_log, "MAX_PARTS_OF_CALL", 5)
    log = rc._session.calls.log = CallLog()
    for _ in range(5):
        rc[:].apply_sync(abs, 1)
    assert len(log.records) == 2 and log.dropped == 3
    rc.load_balanced_view().map_sync(time.sleep, [0.001] * 40, chunksize=1)
    record = until(lambda: log.records[-1])
    assert len(record.parts) <= 4
    assert sum(part.busy for part in record.parts) >= 0.04


def test_imbalance():
    assert imbalance([2.0, 2.0]) == 0.0
    assert imbalance([1.0, 3.0]) == 0.5
    assert imbalance([]) == imbalance([0.0]) == 0.0
