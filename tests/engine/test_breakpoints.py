"""breakpoint() in code on engines: a debugger at the prompt, one engine at a time, and ways out."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from conftest import N, occupied
from waiting import until

from mpidirect import Client, CompositeError, RemoteError, interactive
from mpidirect.client.session import debuggers
from mpidirect.client.session.session import Session
from mpidirect.client.views import debugging
from mpidirect.errors import Interrupted

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

# From Python 3.13 on, breakpoint() stops at its own line, before that at the next one.
TO_THE_NEXT_LINE = ["n"] if sys.version_info >= (3, 13) else []


@interactive
def stop(x):
    secret = x + rank  # noqa: F821
    breakpoint()
    doubled = 2 * secret
    return doubled  # noqa: RET504


def stop_once(x):
    if x == 2:
        breakpoint()
    return x * x


@pytest.fixture(autouse=True)
def loaded(rc):
    """Load IPython's debugger and this module: the first use of them takes time."""
    rc[:].execute("import IPython.core.debugger", block=True)
    rc[:].apply_sync(stop_once, 0)


def all_stopped(rc, result):
    """Wait until all engines stop in a call; return the result."""
    until(lambda: all("breakpoint()" in place for place in rc.where().values()))
    return result


@pytest.fixture
def waiting(rc, typed):
    """A call on engine 1, which waits in breakpoint()."""
    result = rc[1].apply_async(stop, 10)
    until(lambda: "breakpoint()" in rc.where(1)[1])
    yield result
    assert rc[1].apply_sync(abs, -1) == 1


def test_one_engine_at_a_time(rc, dview, typed, capsys):
    typed += ["p secret", *TO_THE_NEXT_LINE, "n", "p doubled", "engine 2", "p secret", "engine 9", "all c"]
    result = all_stopped(rc, dview.apply_async(stop, 10))
    assert result.get() == [20, 22, 24, 26]
    out = capsys.readouterr().out
    line = Path(__file__).read_text().splitlines().index("    breakpoint()") + 1
    assert f"engine 0 stopped in breakpoint() at {__file__}:{line}\n" in out
    assert "engines 1-3 wait too: 'engine 1' goes there" in out
    assert "doubled = 2 * secret" in out and "(Pdb 0) p secret\n10\n" in out
    assert "(Pdb 0) p doubled\n20\n" in out
    assert "engine 2 stopped in breakpoint() at " in out and "(Pdb 2) p secret\n12\n" in out
    assert "engine 9 does not wait" in out and not typed


def test_a_value_changes_the_result(rc, typed):
    typed += ["secret = 100", "c"]
    assert rc[1].apply_sync(stop, 10) == 200


def test_q_ends_with_an_error_that_says_so(rc, typed, capsys):
    typed += ["w", "q"]
    with pytest.raises(RemoteError, match=r"left by q at .*test_breakpoints\.py.*c lets the code go on"):
        rc[1].apply_sync(stop, 10)
    assert "user_code.py" not in capsys.readouterr().out  # the frames of this package are hidden


def test_ctrl_d_ends_the_call(dview, typed):
    with pytest.raises(CompositeError, match="BdbQuit"):
        dview.apply_sync(stop, 10)
    assert dview.apply_sync(abs, -1) == [1] * N


def test_ctrl_c_at_the_prompt_interrupts_the_call(dview, typed):
    typed += ["w", KeyboardInterrupt]
    with pytest.raises(Interrupted, match="engines 0-3: interrupted"):
        dview.apply_sync(stop, 10)
    assert dview.apply_sync(abs, -1) == [1] * N


def test_stepping_ends_with_the_function(rc, typed, capsys):
    typed += [*TO_THE_NEXT_LINE, "n", "n", "n", "n", "n"]
    assert rc[1].apply_sync(stop, 10) == 22
    assert typed == ["n", "n"] and "--Return--" in capsys.readouterr().out
    assert rc[1].apply_sync(sys.gettrace) is None


def test_a_debugger_for_an_asynchronous_result(rc, typed, waiting, capsys):
    assert f"engine 1 waits in breakpoint() for process {os.getpid()}" in rc.stacks().summary
    assert "return doubled" not in str(rc.stacks(1)) and "in stop" in str(rc.stacks(1))
    until(lambda: "rc.debug(), or get() of the result" in capsys.readouterr().err)
    typed += ["n", KeyboardInterrupt]
    rc.debug()
    assert not waiting.ready()
    rc.interrupt(1)


def test_engines_that_wait_together_are_told_of_in_one_line(rc, dview, typed, monkeypatch, capsys):
    monkeypatch.setattr(debuggers, "NOTICE_DELAY", 2.0)  # so long may the last of them take
    result = all_stopped(rc, dview.apply_async(stop, 10))
    told = []
    until(lambda: told.append(capsys.readouterr().err) or "breakpoint()" in "".join(told))
    assert "".join(told).startswith(f"engines 0-{N - 1} wait in breakpoint() at ")
    result.interrupt()


def test_get_serves_the_debugger(typed, waiting):
    typed += ["n", "c"]
    assert waiting.get() == 22 and not typed


def test_debug_serves_the_debugger(rc, typed, waiting):
    typed += [KeyboardInterrupt]
    rc[:].debug()
    assert not waiting.ready()
    typed += ["c"]
    rc[:].debug()
    assert waiting.get(10) == 22


def test_debug_prefers_a_breakpoint_to_an_older_error(rc, typed, capsys):
    with pytest.raises(RemoteError, match="ZeroDivisionError"):
        rc[1].apply_sync(lambda: 1 / 0)
    result = rc[1].apply_async(stop, 10)
    typed += ["p secret", "c"]
    rc.debug()  # before the engine has stopped
    assert "(Pdb 1) p secret\n11\n" in capsys.readouterr().out and not typed
    assert result.get(10) == 22


def test_debug_prefers_the_breakpoint_of_a_balanced_task(rc, typed, capsys):
    result = rc.load_balanced_view().map_async(stop_once, range(4))
    typed += ["p x", "c"]
    rc.debug()
    assert ") p x\n2\n" in capsys.readouterr().out
    assert list(result.get(10)) == [0, 1, 4, 9]


def test_debug_gives_the_prompt_to_a_breakpoint_that_is_reached_meanwhile(rc, typed, monkeypatch, capsys):
    monkeypatch.setattr(debugging, "_busy_among", lambda session, engines: [])  # as a moment before the call
    result = rc[1].apply_async(stop, 10)
    typed += ["p secret", "c"]
    rc.debug(1)
    assert "(Pdb 1) p secret\n11\n" in capsys.readouterr().out and not typed
    assert result.get(10) == 22


@pytest.fixture
def busy(rc, tmp_path, monkeypatch):
    """Engine 1 is busy, and debug() does not wait long for a breakpoint; engine 2 has an error."""
    monkeypatch.setattr(debugging, "STOP_TIMEOUT", 1.0)
    with pytest.raises(RemoteError, match="ZeroDivisionError"):
        rc[2].apply_sync(lambda: 1 / 0)
    result = rc[1].apply_async(occupied(tmp_path))
    until(lambda: rc.where(1)[1])
    yield
    (tmp_path / "go on").touch()
    result.get(20)


def test_debug_waits_a_moment_for_busy_engines_and_then_debugs_an_error(rc, typed, busy, capsys):
    rc.debug()
    out = capsys.readouterr().out
    assert "Waiting 1 s for breakpoint() on engine 1 … (Ctrl-C ends the wait)" in out
    assert "No breakpoint() of yours has stopped engine 1, still busy (engine 1: line" in out
    assert "Engine 2: ZeroDivisionError" in out


def test_debug_of_a_busy_engine_says_so_and_returns(rc, busy, capsys):
    rc.debug(1)
    assert "has stopped engine 1, still busy (engine 1: line" in capsys.readouterr().out


def test_ctrl_c_ends_the_wait_for_a_breakpoint(rc, busy, capsys, monkeypatch):
    monkeypatch.setattr(debugging, "STOP_TIMEOUT", 60.0)
    noticed = threading.Event()
    wait = Session.wait_silently

    def wait_silently(self, done, timeout):
        if threading.current_thread() is threading.main_thread() and not noticed.is_set():
            noticed.set()
            signal.raise_signal(signal.SIGINT)
        return wait(self, done, timeout)

    monkeypatch.setattr(Session, "wait_silently", wait_silently)
    rc.debug()
    assert "The engines run on" in capsys.readouterr().out


def test_other_clients_see_it_and_end_it(cluster, waiting):
    with Client(str(cluster.connection_file)) as other:
        assert other.facts["debuggers"][0].startswith("engine 1 waits in breakpoint() at ")
        assert other.peek("rank", targets=1) == 1
        other.interrupt(1)
        assert other.where(1) == {1: ""}
    with pytest.raises(RemoteError, match="KeyboardInterrupt"):
        waiting.get()


def test_a_client_that_leaves_ends_it(cluster, typed, rc):
    with Client(str(cluster.connection_file)) as client:
        client[1].apply_async(stop, 10)
        until(lambda: "breakpoint()" in client.where(1)[1])
    assert rc[1].apply_sync(abs, -1) == 1


def test_without_a_terminal_breakpoint_raises(rc):
    with pytest.raises(RemoteError, match=r"NoTerminal.*the client has no terminal"):
        rc[1].apply_sync(stop, 10)
    result = rc[1].apply_async(stop, 10)
    assert not rc[1].apply_sync(abs, 0)
    assert "NoTerminal" in str(result.exception())


def test_tasks_of_a_balanced_view(rc, typed, capsys):
    typed += ["p x", "c"]
    assert rc.load_balanced_view().map_sync(stop_once, range(4)) == [0, 1, 4, 9]
    assert ") p x\n2\n" in capsys.readouterr().out


def test_the_users_choice_of_a_debugger_is_kept(rc, typed):
    rc[1].execute("import os; os.environ['PYTHONBREAKPOINT'] = '0'", block=True)
    try:
        assert rc[1].apply_sync(stop, 10) == 22
    finally:
        rc[1].execute("del os.environ['PYTHONBREAKPOINT']", block=True)


@pytest.mark.parametrize(
    "code", ["import pdb; pdb.set_trace(); k = 7", "import pdb; pdb.Pdb().set_trace(); k = 7"]
)
def test_other_ways_into_the_debugger(rc, typed, code):
    typed += ["p rank", "k = 5", "interact", "k = k + 1", EOFError, "c"]
    rc[1].execute(code.replace("; ", "\n"), block=True)
    assert not typed and rc[1]["k"] == 7


def test_debuggers_that_need_a_terminal_raise(rc):
    with pytest.raises(RemoteError, match=r"use breakpoint\(\)"):
        rc[1].execute("import IPython; IPython.embed()", block=True)


def test_output_of_a_step_is_shown(rc, typed, capsys):
    typed += [*TO_THE_NEXT_LINE, "n", "n", "n"]
    rc[1].execute("breakpoint()\nprint('a step')\nk = 1", block=True)
    out = capsys.readouterr().out
    assert "---> 2 print('a step')" in out and "--Call--" not in out
    assert "(Pdb 1) n\na step\n" in out and not typed


def test_at_the_prompt(prompt, typed, rc):
    prompt.names["dv"] = rc[1:2]
    prompt("dv.block = True; dv.activate()")
    typed += ["p rank", "all c"]
    prompt("%%px\nprint('before')\nbreakpoint()\nprint('after')")
    assert prompt.printed.index("[stdout:1] before") < prompt.printed.index("(Pdb 1) p rank\n1\n")
    assert "[stdout:1] after" in prompt.printed
