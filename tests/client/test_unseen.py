"""No failure is unseen: pushes raise at once, and failures that no user has looked at are reported."""

from __future__ import annotations

import gc
import subprocess
import sys
import time

import pytest
from conftest import N, occupied
from waiting import until

from mpidirect import AsyncResult, Client, CompositeError, MPIDirectError
from mpidirect.client.results import state

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def bad(main):
    """An object that can't be unpickled on the engines."""
    exec("class Bad:\n    def __reduce__(self): return eval, ('1/0',)", main.__dict__)
    return main.Bad()


# -- pushes


def test_an_assignment_to_idle_engines_raises_at_once(dview, bad):
    with pytest.raises(CompositeError, match="ZeroDivisionError"):
        dview["b"] = bad
    with pytest.raises(CompositeError, match="ZeroDivisionError"):
        dview.push({"b": bad})
    with pytest.raises(CompositeError, match="ZeroDivisionError"):
        dview.update({"b": bad})
    assert dview.push({"a": 1}).ready()


def test_an_assignment_to_busy_engines_returns_at_once(dview, bad, tmp_path):
    running = dview.apply_async(occupied(tmp_path))
    began = time.monotonic()
    dview["a"] = 2
    pushed = dview.push({"b": bad})
    assert time.monotonic() - began < 10 and not pushed.ready()
    (tmp_path / "go on").touch()
    assert dview["a"] == [2] * N
    with pytest.raises(CompositeError):
        pushed.get()
    running.get()


def test_an_assignment_to_engines_that_others_keep_busy_returns_soon(dview, cluster, tmp_path):
    with Client(str(cluster.connection_file)) as other:
        running = other[:].apply_async(occupied(tmp_path))
        other[:].queue_status()
        began = time.monotonic()
        dview["a"] = 2
        assert time.monotonic() - began < 10
        (tmp_path / "go on").touch()
        running.get()
    assert dview["a"] == [2] * N


def test_an_assignment_with_block_false_does_not_wait(dview, bad):
    pushed = dview.push({"b": bad}, block=False)
    assert isinstance(pushed, AsyncResult)
    assert isinstance(pushed.exception(), CompositeError)


# -- in plain Python


def fail(dview) -> AsyncResult:
    return dview.apply_async(lambda: 1 / 0)


def failing(call) -> None:
    with pytest.raises(MPIDirectError):
        call()


def forgotten(capsys) -> str:
    gc.collect()
    return capsys.readouterr().err


def test_an_unseen_failure_is_reported_when_the_result_is_deleted(dview, capsys):
    result = fail(dview)
    assert result.wait(30)
    assert forgotten(capsys) == ""
    del result
    told = forgotten(capsys)
    assert told.startswith("mpidirect: the call '<lambda>' failed, and nobody looked at its result\n")
    assert "return dview.apply_async(lambda: 1 / 0)" in told
    assert told.count("Traceback") == 1


def test_the_failure_of_a_dropped_result_is_reported_at_once(dview, capsys):
    fail(dview)
    assert dview.client.wait(timeout=30)
    assert "nobody looked at its result" in forgotten(capsys)


@pytest.mark.parametrize(
    "look",
    [
        lambda ar: ar.exception(),
        lambda ar: ar.successful(),
        lambda ar: ar.failures,
        lambda ar: ar.metadata,
        lambda ar: ar.error,
        lambda ar: ar.status,
        lambda ar: ar.get(return_exceptions=True),
        lambda ar: [part.exception() for part in ar.split()],
        lambda ar: failing(ar.get),
        lambda ar: failing(ar.get_dict),
        lambda ar: failing(lambda: list(ar)),
    ],
)
def test_a_seen_failure_is_not_reported(dview, capsys, look):
    result = fail(dview)
    assert result.wait(30)
    look(result)
    del result
    assert forgotten(capsys) == ""


def test_blocking_calls_interrupts_and_aborts_are_not_reported(dview, capsys, tmp_path):
    with pytest.raises(CompositeError):
        dview.apply_sync(lambda: 1 / 0)
    running = dview.apply_async(time.sleep, 60)
    waiting = dview.apply_async(int)
    dview.client.abort(waiting)
    running.interrupt()
    assert waiting.wait(30)
    del running, waiting
    pending = dview.client[0].apply_async(occupied(tmp_path))
    dview.client.close()
    (tmp_path / "go on").touch()
    del pending
    assert forgotten(capsys) == ""


def test_another_result_of_the_call_is_read_later(dview, capsys):
    first = fail(dview)
    assert first.wait(30)
    again = dview.client.get_result(first.msg_ids)
    del first
    assert forgotten(capsys) == ""
    assert again.exception() is not None
    del again
    assert forgotten(capsys) == ""


SCRIPT = """
from mpidirect import Client
dv = Client({file!r})[:]
dv.apply_sync(int)
kept = dv.apply_async(lambda: 1 / 0)
kept.wait()
seen = dv.apply_async(lambda: {{}}["k"])
seen.exception()
last = dv.apply_async(lambda: nowhere)
"""


def test_at_the_end_of_a_script(cluster, tmp_path):
    file = tmp_path / "script.py"
    file.write_text(SCRIPT.format(file=str(cluster.connection_file)))
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stderr.count("nobody looked at its result") in (1, 2)  # the last call may fail too late
    assert "kept = dv.apply_async(lambda: 1 / 0)" in done.stderr and "KeyError" not in done.stderr


# -- at an IPython prompt


@pytest.fixture
def In(prompt, cluster):
    with Client(str(cluster.connection_file)) as client:
        prompt.names["rc"], prompt.names["dv"] = client, client[:]
        yield prompt


def test_ipython_reports_before_the_next_prompt(In):
    In("ar = dv.apply_async(lambda: nix)\nar.wait()")
    assert In.shown.rstrip().endswith(
        "In [1] failed on engines 0-3: NameError: name 'nix' is not defined — ar.get() shows the traceback"
    )
    In("1")
    assert "failed" not in In.shown
    In.fails("ar.get()")


def test_ipython_names_an_expression_for_an_unnamed_result(In):
    In("rc[1].apply_async(lambda: nix)\nrc.wait(); None")
    line = In.shown.strip().splitlines()[-1]
    assert line.startswith("In [1] failed on engine 1: NameError")
    expression = line.partition(" — ")[2].removesuffix(" shows the traceback")
    assert expression == "rc.get_result(0).get()"
    In("dv.apply_sync(int); dv.keys()")
    assert "NameError" in str(In.fails(expression))


def test_equal_failures_share_a_line(In):
    In("for i in range(20): dv.apply_async(lambda: nix)\nrc.wait()")
    assert In.shown.count("failed") == 1
    assert "In [1]: 20 calls failed on engines 0-3: NameError" in In.shown


def test_equal_syntax_errors_share_a_line(In):
    In("for _ in range(3): rc[0].execute('1', block=True, silent=False)")
    In("ar = dv.execute('exec(\"x = = 3\")')\nar.wait()")
    assert "failed on engines 0-3: SyntaxError: invalid syntax (<string>, line 1) — ar" in In.shown
    In.fails("ar.get()")


def test_ipython_does_not_report_seen_failures(In):
    In("ar = dv.apply_async(lambda: nix)\nar.wait(); ar.successful()")
    assert "failed" not in In.shown
    In.fails("dv.apply_sync(lambda: nix)")
    assert " failed on " not in In.shown


# -- calls that wait for others


@pytest.fixture
def reported_soon(monkeypatch):
    """Report after a fraction of a second that a call waits for other calls."""
    monkeypatch.setattr(state, "QUEUE_REPORT_DELAY", 0.2)


def test_a_call_that_waits_for_another_call_says_so(dview, capsys, reported_soon):
    slow = dview.apply_async(time.sleep, 1.2)
    assert dview.apply_sync(int) == [0] * N
    told = capsys.readouterr().err
    assert "waiting for engines 0-3, which run 'sleep' since 0 s (rc.interrupt() ends it)" in told
    assert slow.ready()


def test_a_call_that_waits_for_one_that_an_interrupt_did_not_end(rc, dview, capsys, reported_soon):
    slow = dview.apply_async(time.sleep, 1.2)
    rc._session.uninterrupted.add(slow._calls[0].id)  # a real one would revoke the world of all tests
    assert dview.apply_sync(int) == [0] * N
    told = capsys.readouterr().err
    assert "an interrupt did not end it, rc.restart() does" in told and "rc.interrupt()" not in told


def test_the_report_on_a_wait_names_the_cell(In, reported_soon):
    In("import time")
    In("slow = rc[:2].apply_async(time.sleep, 2.5)")
    assert In("dv.apply_sync(int)") == [0] * N
    assert "waiting for engines 0-1, which run In [2] slow = rc[:2].apply_async(time.sleep, 2.5)" in In.shown


def test_a_call_that_waits_for_another_client_says_so(dview, cluster, capsys, reported_soon):
    with Client(str(cluster.connection_file)) as other:
        running = other[:2].apply_async(time.sleep, 1.2)
        other.queue_status()
        assert dview.apply_sync(int) == [0] * N
        assert "waiting for engines 0-1, where other clients have calls as well" in capsys.readouterr().err
        running.get()


def test_a_call_behind_balanced_tasks_of_ones_own_says_so(rc, capsys, reported_soon):
    tasks = rc.load_balanced_view().map_async(time.sleep, [1.2] * (N + 1), chunksize=1)
    until(lambda: all(rc.where().values()))
    assert rc[:2].apply_sync(int) == [0] * 2
    told = capsys.readouterr().err
    assert "waiting for engines 0-1, where tasks of 'sleep' run" in told
    tasks.get()


def test_a_long_call_of_ones_own_says_nothing(dview, capsys, reported_soon):
    dview.apply_sync(time.sleep, 0.5)
    dview.apply_async(time.sleep, 0.5).get()
    assert capsys.readouterr().err == ""
