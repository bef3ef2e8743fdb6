"""The places of engines, seen from outside: stacks, peek, and calls that take too long."""

from __future__ import annotations

import os
import sys

import pytest
from conftest import N
from waiting import until

from mpidirect import RemoteError, TimeoutError

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

WITHIN = 30


@pytest.fixture
def odd(dview, tmp_path):
    """Engine 2 executes something else than the others, which wait for it."""
    program = tmp_path / "solve.py"
    program.write_text(
        "import time\n"
        "def write():\n"
        "    time.sleep(60)\n"
        "residual, step = 0.5, [1, 2]\n"
        "big = bytes(10_000_000)\n"
        "if rank == 2:\n"
        "    write()\n"
        "comm.barrier()\n"
    )
    result = dview.run(program)
    until(lambda: dview.client.stacks().summary.count("solve.py") == 2)
    yield result
    if not result.ready():
        result.interrupt()


def test_stacks_are_grouped_the_odd_ones_first(rc, odd):
    stacks = rc.stacks()
    called = "time.sleep" if sys.version_info >= (3, 11) else "write"
    assert (
        stacks.summary == f"engine 2 in {called} at solve.py:3, engines 0-1,3 in comm.barrier at solve.py:8"
    )
    assert sorted(stacks) == list(range(N))
    first, second = str(stacks).split("\n\n")
    assert first.startswith("engine 2 in ") and "time.sleep(60)" in first and "in write" in first
    assert second.startswith("engines 0-1,3 in comm.barrier at solve.py:8\n") and "mpidirect" not in second
    assert list(rc.stacks(2)) == [2]


@pytest.mark.parametrize("native", [False, True])
def test_the_stack_of_a_cell_begins_in_the_cell(dview, native):
    result = dview.execute("def wait():\n    import time\n    time.sleep(60)\nwait()", block=False)
    until(lambda: all("time.sleep" in stack for stack in dview.client.stacks().values()))
    stacks = dview.client.stacks(native=native)
    result.interrupt()
    for stack in stacks.values():
        head, first, *others = stack.splitlines()
        assert head.endswith("Executed code, line 3") and "IPython" not in stack
        assert "<module>" in first and "Executed code, line 4" in first and stack.count("<module>") == 1
        assert any("wait" in line for line in others)


def test_an_engine_between_two_cells_shows_nothing_of_ipython(rc, dview):
    dview.execute(
        "import functools, time\n"
        "get_ipython().events.register('pre_execute', functools.partial(time.sleep, 60))",
        block=True,
    )
    try:
        result = dview.execute("1", block=False)
        expected = f"engines 0-{N - 1} in IPython, before or after the code of a cell"
        until(lambda: rc.stacks().summary == expected)
        assert set(rc.where().values()) == {"in IPython, before or after the code of a cell"}
        result.interrupt()
    finally:
        dview.apply_sync(lambda: get_ipython().events.callbacks["pre_execute"].clear())  # noqa: F821


def test_engines_without_a_task_are_idle(rc):
    assert rc.stacks() == dict.fromkeys(range(N), "")
    assert rc.stacks().summary == f"engines 0-{N - 1} idle"


def test_a_call_that_takes_too_long_is_interrupted(rc, odd):
    with pytest.raises(TimeoutError, match=r"engine 2 in .* at solve.py:3, engines 0-1,3 in comm.barrier"):
        odd.get(timeout=0.1, interrupt=True)
    assert odd.ready()
    assert rc[:].apply_sync(lambda: comm.allreduce(residual)) == [N / 2] * N  # noqa: F821


def test_names_of_engines_that_are_busy(rc, odd):
    assert rc.peek("residual") == [0.5] * N
    assert rc.peek("residual", targets=2) == 0.5
    assert rc.peek(["residual", "step"], targets=[0, 2]) == [[0.5, [1, 2]]] * 2
    assert rc.peek("comm.size", targets=0) == N
    with pytest.raises(RemoteError, match="NameError"):
        rc.peek("nix", targets=0)
    with pytest.raises(RemoteError, match=r"at most 1,048,576 are read"):
        rc.peek("big", targets=0)
    with pytest.raises(ValueError, match="no name"):
        rc.peek("write()", targets=0)
    assert not odd.ready()


def test_peek_repeatedly_while_code_runs(rc, tmp_path):
    go_on = tmp_path / "go on"
    result = rc[0].execute(
        f"import os, time\nk = 7\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.001)\nk = 8"
    )
    until(lambda: "time.sleep" in str(rc.stacks(0)))
    seen = []
    for value in rc.peek("k", targets=0, every=0.01):
        seen.append(value)
        go_on.touch()
    assert seen[0] == 7 and seen[-1] == 8
    assert result.ready() or result.get(WITHIN) is None
    assert rc.peek("k", targets=0) == 8


def test_engines_that_hold_pythons_lock(rc, tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe")
    program = tmp_path / "held.py"
    program.write_text(
        f"import ctypes, os\nfile = os.open({str(pipe)!r}, os.O_RDWR)\nhold = ctypes.PyDLL(None).read\n"
        "def wait():\n    hold(file, ctypes.create_string_buffer(1), 1)\n"
        "if rank == 1: wait()\ncomm.barrier()\n"
    )
    result = rc[:].run(program)
    stacks = until(lambda: found if "which holds" in (found := rc.stacks()).summary else None)
    assert "engine 1 in hold (which holds Python's lock) at held.py:5" in stacks.summary
    assert "in comm.barrier at held.py:7" in stacks.summary
    assert "line 6, in <module>" in stacks[1] and "line 5, in wait" in stacks[1]
    assert "mpidirect" not in stacks[1]
    native = rc.stacks(1, native=True)[1]
    assert native.index("wait (") < native.index("read (") and "user_code" not in native
    assert native.startswith("hold (which holds Python's lock) at held.py:5\n")
    pipe.write_text("go on")
    result.get(WITHIN)


def test_at_the_prompt(prompt, rc):
    prompt.names["dv"] = rc[:]
    prompt("dv.block = True; dv.activate()")
    prompt("%px import time")
    prompt("%%px --progress-after 0.2\nimport time; time.sleep(0.6)")
    assert "of 4 engines done after 0 s; engines 0-3 in " in prompt.shown
    prompt("%%px --progress-after -1\nimport time; time.sleep(0.6)")
    assert "engines done" not in prompt.shown
    error = prompt.fails("%%px --timeout 0.3\nimport time; time.sleep(60)")
    assert isinstance(error, TimeoutError)
    assert "Result not ready after 0.3 s: engines 0-3 in " in prompt.shown
    prompt("%pxconfig --progress-after 5 --no-stream")
    prompt("%px print('as before')")
    assert "[stdout:0-3] as before" in prompt.shown
