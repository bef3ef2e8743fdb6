"""``%px`` and other magics, at an IPython prompt in this process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
from waiting import until

from mpidirect import AsyncResult, Client, CompositeError, Reference
from mpidirect.client.display import folding

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

RUNNING = "Parallel execution on engines: [0, 1, 2, 3]\n"


@pytest.fixture
def In(prompt, rc, monkeypatch):
    """An IPython prompt with a blocking view of all engines, which the magics use."""
    monkeypatch.setattr(folding, "WINDOW", 1.0)  # on a busy machine, equal lines may arrive late
    dv = rc[:]
    dv.block = True
    prompt.names.update(rc=rc, dv=dv)
    prompt("dv.activate(); rc[:].execute('pass', block=True)")  # each engine loads IPython in its own time
    prompt("%pxconfig --progress-after -1")
    return prompt


def lines(In):
    return In.shown.splitlines()


def results(In):
    """Return the shown result of each engine, folded or not."""
    found = {}
    for label, text in re.findall(r"^Out\[(.+?)\]: (.*)$", In.shown, re.M):
        for part in re.findall(r"[\d-]+(?=[,:])", label):
            first, _, last = part.partition("-")
            found.update(dict.fromkeys(range(int(first), int(last or first) + 1), text))
    return found


def test_px_shows_what_is_printed_by_engine(In):
    assert In("%px print(rank)") is None
    assert sorted(lines(In)) == [RUNNING.strip(), *[f"[stdout:{k}] {k}" for k in range(4)]]
    In("%px print('a\\nb')")
    together, apart = ["[stdout:0-3]", "a", "b"], ["[stdout:0-3] a", "[stdout:0-3] b"]
    assert lines(In)[1:] in (together, apart)  # not folded if the second line arrives later
    In("%px import sys; print('wrong', file=sys.stderr)")
    assert [line for line in lines(In) if "stderr" in line] == ["[stderr:0-3] wrong"]


def test_px_shows_results(In):
    In("%px rank * 10")
    counts = In.names["dv"].pull("get_ipython().execution_count - 1", block=True)
    assert lines(In)[1:] == [f"Out[{k}:{count}]: {k * 10}" for k, count in enumerate(counts)]


def test_equal_results_are_shown_once(In):
    In("dv.execute('get_ipython().execution_count = 5', block=True)")
    In("%px 40 + 2")
    assert lines(In)[1:] == ["Out[0-3:5]: 42"]
    In("%px rank // 2 * 10")
    assert lines(In)[1:] == ["Out[0-1:6]: 0", "Out[2-3:6]: 10"]
    In("%px rank % 2")
    assert lines(In)[1:] == ["Out[0,2:7]: 0", "Out[1,3:7]: 1"]
    In("ar = dv.execute('40 + 2', silent=False, block=False); ar.display_outputs()")
    assert lines(In) == ["Out[0-3:8]: 42"]
    assert In("[reply.text for reply in ar.get()]") == ["42"] * 4
    In("%%px -t 0\n'alone'")
    In("%px 'together'")
    assert lines(In)[1:] == ["Out[0:10; 1-3:9]: 'together'"]


RICH = "from IPython.display import HTML\nHTML('<b>{}</b>')"


def test_equal_rich_results_are_displayed_once(In):
    shown = []
    In.shell.display_pub.publish = lambda data, *args, **options: shown.append(data["text/html"])
    try:
        In("dv.execute('get_ipython().execution_count = 5', block=True)")
        In("%%px\n" + RICH.format("same"))
        assert (lines(In)[1:], shown) == (["Out[0-3:5]:"], ["<b>same</b>"])
        In("%%px\n" + RICH.replace("'", "f'", 1).format("{rank // 3}"))
        assert lines(In)[1:] == ["Out[0-2:6]:", "Out[3:6]:"] and shown[1:] == ["<b>0</b>", "<b>1</b>"]
    finally:
        del In.shell.display_pub.publish


def test_equal_displays_are_shown_once_at_the_end(In):
    In("%%px --no-stream\ndisplay('both'); display(rank // 2)")
    assert lines(In)[1:] == [
        *("[output:0-1] 'both'", "[output:0-1] 0"),
        *("[output:2-3] 'both'", "[output:2-3] 1"),
    ]
    In("%%px --group-outputs order\ndisplay('both'); display(rank // 2)")
    assert lines(In)[1:] == ["[output:0-3] 'both'", "[output:0-1] 0", "[output:2-3] 1"]
    In("%%px --group-outputs engine\ndisplay('both')\n7")
    shown = [line.split(":")[0] for line in lines(In)[1:]]
    assert shown == [word for k in range(4) for word in ("[output", f"Out[{k}")]


def test_px_shows_displays(In):
    In("%px display(rank)")
    assert sorted(lines(In)[1:]) == [f"[output:{k}] {k}" for k in range(4)]


def test_px_does_not_expand_its_line(In):
    In.names["x"] = "here"
    In("%px y = '$x {x}'")
    assert In("dv['y']") == ["$x {x}"] * 4


def test_px_by_automagic(In):
    In("px ans= 'is %d' % rank")
    assert In("dv['ans']") == [f"is {k}" for k in range(4)]


def test_px_runs_on_the_views_targets(In):
    In("dv.targets = [0, 2]")
    In("%px here = 1")
    assert In.shown == "Parallel execution on engines: [0, 2]\n"
    In("dv.targets = 'all'")
    In("%px 'here' in globals()")
    assert results(In) == {0: "True", 1: "False", 2: "True", 3: "False"}


def test_px_that_does_not_block(In):
    In("dv.block = False")
    assert isinstance(In("%px rank"), AsyncResult)
    assert lines(In)[0] == "Async parallel execution on engines: [0, 1, 2, 3]"
    In("%pxresult")
    assert results(In) == {k: str(k) for k in range(4)}


def test_errors_show_the_engines_tracebacks(In):
    error = In.fails("%px print('before'); 1/rank")
    assert isinstance(error, CompositeError)
    assert "[stdout:0-3] before" in In.shown
    assert "[0:execute]: \n" in In.shown
    assert "[1:execute]" not in In.shown
    assert "----> 1 print('before'); 1/rank" in In.shown
    assert In.shown.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "asyncresult.py" not in In.shown


def test_the_death_of_an_engine_is_told_first_then_the_remedy_then_its_log(prompt, start):
    start(3)[1].activate()
    die = "os.write(2, b'last words\\n'); os.kill(os.getpid(), 9)"
    for cell, first in (
        (f"%%px -t 2\n{die}", "EngineError: engine 2 (process "),
        (f"%%px\nif rank == 1: {die}\n1 / 0", "[1:execute]: EngineError: engine 1 (process "),
    ):
        prompt.fails(cell)
        _, death, hint, *rest = prompt.printed.splitlines()
        assert death.startswith(first) and "ended by SIGKILL" in death
        assert hint.startswith("Hint: ") and "make a new comm" in hint and "last words" in rest
    assert rest[-1].startswith("ZeroDivisionError") or "ZeroDivisionError: division by zero" in rest


def test_cells(In):
    In("%%px\na = rank\na += 1\nprint(a)")
    assert sorted(lines(In)) == [RUNNING.strip(), *[f"[stdout:{k}] {k + 1}" for k in range(4)]]


@pytest.mark.parametrize(
    ("targets", "engines"),
    [
        ("0", [0]),
        ("0,2", [0, 2]),
        ("0-1,3", [0, 1, 3]),
        ("[1, 3]", [1, 3]),
        ("::2", [0, 2]),
        ("1:3", [1, 2]),
        ("-1", [3]),
        ("all", [0, 1, 2, 3]),
    ],
)
def test_cells_on_some_engines(In, targets, engines):
    before = In("dv.targets")
    In(f"%%px --targets '{targets}'\nprint(rank)" if " " in targets else f"%%px -t {targets}\nprint(rank)")
    assert lines(In)[0] == f"Parallel execution on engines: {engines}"
    assert [line.split()[-1] for line in lines(In)[1:]] == [str(k) for k in engines]
    assert In("dv.targets") == before


@pytest.mark.parametrize("targets", ["9", "x", "os.system('ls')", "0,0"])
def test_invalid_targets(In, targets):
    In.fails(f'%%px -t "{targets}"\nprint(1)')
    assert "UsageError" in In.shown
    assert "Parallel execution" not in In.shown


def test_options_override_the_views_block(In):
    assert isinstance(In("%%px --noblock\nrank"), AsyncResult)
    assert In("dv.block") is True
    In("dv.block = False")
    assert In("%%px --block\nrank") is None
    assert lines(In)[0] == RUNNING.strip()
    assert In("dv.block") is False


def test_local_cells_run_on_both_sides(In):
    In("%%px --local\nboth = 5")
    assert In.names["both"] == 5
    assert In("dv['both']") == [5] * 4


def test_results_stored_under_a_name(In):
    In("%%px --out kept\nprint(rank)")
    assert In("kept.stdout") == ["0\n", "1\n", "2\n", "3\n"]


def test_outputs_engine_by_engine(In):
    In("%%px --group-outputs engine\nprint('p')\n'r'")
    shown = [line.split(":")[0] for line in lines(In)[1:]]
    assert shown == [word for k in range(4) for word in ("[stdout", f"Out[{k}")]


def test_unknown_options(In):
    In.fails("%%px --nonsense\n1")
    assert "UsageError" in In.shown


def test_pxconfig(In):
    In("%pxconfig --noblock --targets 1 --no-verbose")
    assert In("(dv.block, dv.targets)") == (False, 1)
    In("%pxconfig --block")
    In("%px print(rank)")
    assert In.shown == "[stdout:1] 1\n"
    In("%pxconfig --verbose -t all")
    In("%px pass")
    assert In.shown == RUNNING


def test_result(In):
    In("dv.block = False")
    In("dv.apply_async(lambda: rank)")
    assert In("%result") == [0, 1, 2, 3]
    In("dv.apply_async(lambda: -rank)")
    assert In("%result") == [0, -1, -2, -3]
    assert In("%result -2") == [0, 1, 2, 3]
    assert In("%result 0") == [0, 1, 2, 3]
    In("dv.execute('print(7)')")
    In("%result")
    assert lines(In) == ["[stdout:0-3] 7"]
    In.fails("%result 99")
    assert "UsageError" in In.shown


def test_pxresult_before_any_execution(In):
    In.fails("%pxresult")
    assert "UsageError" in In.shown


def test_pxresult_ignores_calls_without_px(In):
    In("%%px --noblock\nprint('px')")
    In("dv.pull('rank')")
    In("%pxresult")
    assert lines(In) == ["[stdout:0-3] px"]


def test_autopx(In):
    In("%autopx")
    assert In.shown == "Auto Parallel Enabled\nType %autopx to disable\n"
    In("a = rank")
    assert In.shown == RUNNING
    In("for k in range(2):\n    print(a, k)")
    assert lines(In)[1:4] == ["[stdout:0]", "0 0", "0 1"]
    In("!echo shell")
    assert {line.partition("] ")[2] for line in lines(In)[1:]} == {"shell"}
    In("%whos")
    assert "a          int" in In.shown
    In("%%timeit -n1 -r1\npass")
    assert "per loop" in In.shown
    In("%autopx")
    assert In.shown == "Auto Parallel Disabled\n"
    assert "a" not in In.names
    assert In("dv['a']") == [0, 1, 2, 3]
    assert In("1 + 1") == 2


def test_autopx_by_automagic_and_magics_inside_it(In):
    In("autopx")
    In("%px b = 1")
    assert In.shown == RUNNING
    In("%%px -t 0\nprint(b)")
    assert lines(In) == ["Parallel execution on engines: [0]", "[stdout:0] 1"]
    In("")
    assert In.shown == ""
    In("autopx")
    assert In.shown == "Auto Parallel Disabled\n"


def test_autopx_without_blocking(In):
    In("dv.block = False")
    In("%autopx")
    In("c = 1")
    assert In.shown == "<AsyncResult(_execute): pending>\n" or "finished" in In.shown
    In("%autopx")
    assert In("dv['c']") == [1] * 4


def test_autopx_goes_on_after_an_error(In):
    In("%autopx")
    error = In.fails("1/0")
    assert isinstance(error, CompositeError)
    In("d = 1")
    In("%autopx")
    assert In("dv['d']") == [1] * 4


def test_autopx_hides_the_frames_of_the_package(In):
    In("%autopx")
    In.fails("1/0")
    assert "----> 1 1/0" in In.shown and "[0-3:execute]: \n" in In.shown
    assert "get_ipython" not in In.shown and "mpidirect" not in In.shown and "Cell In" not in In.shown
    In("%autopx")


def test_autopx_shows_a_syntax_error_once_and_sends_nothing(In):
    In("%autopx")
    In.fails("sent = 1\nx = = 3")
    assert In.shown.count("SyntaxError") == In.shown.count("x = = 3") == 1
    assert "Parallel execution" not in In.shown and "get_ipython" not in In.shown
    In("%autopx")
    assert In("dv.pull(\"'sent' in globals()\", block=True)") == [False] * 4


def test_autopx_with_a_local_cell(In):
    In("%autopx")
    In("%%px --local\nboth = 5")
    In("%autopx")
    assert In.names["both"] == 5
    assert In("dv['both']") == [5] * 4


@pytest.mark.parametrize("typed", ["%px cd /", "%%px\ncd /"])
def test_magics_without_a_percent_sign_are_the_engines(In, typed):
    here = Path.cwd()
    place = In("dv.pull('__import__(\"os\").getcwd()', block=True)")[0]
    In(typed)
    assert In("dv.pull('__import__(\"os\").getcwd()', block=True)") == ["/"] * 4
    assert Path.cwd() == here
    In(f"%px cd {place}")
    for wrong in ("%px cd = = 3", "%px time = foo(", "%px x y"):
        In.fails(wrong)
        assert "SyntaxError" in In.shown and "Parallel execution" not in In.shown


def test_autopx_does_not_change_the_check_for_incomplete_cells(In):
    In("%autopx")
    assert In.shell.check_complete("for k in range(3):")[0] == "incomplete"
    In("%autopx")


def test_two_views_with_suffixes(In, rc):
    In.names["even"] = rc[::2]
    In("even.block = True; even.activate('2')")
    In("%px2 e = 1")
    assert In.shown == "Parallel execution on engines: [0, 2]\n"
    In("%autopx2")
    assert In.shown == "Auto Parallel Enabled\nType %autopx2 to disable\n"
    In("f = 1")
    In("%autopx2")
    In("%px 'f' in globals()")
    assert lines(In)[0] == RUNNING.strip()
    assert results(In) == {0: "True", 1: "False", 2: "True", 3: "False"}
    with pytest.raises(ValueError, match="letters"):
        rc[:].activate("-")


def test_another_view_replaces_the_magics(In, rc):
    In("%autopx")
    rc[1].activate()
    In("dv.block")
    In.names["rc"][1]
    In("%pxconfig --block")
    In("%px print(rank)")
    assert lines(In)[-1] == "[stdout:1] 1"


def test_client_activate(In):
    view = In("rc.activate([1, 2], '3')")
    assert view.block is True
    In("%px3 print(rank)")
    assert lines(In)[1:] == ["[stdout:1] 1", "[stdout:2] 2"]


def test_a_client_in_ipython_has_the_magics_at_once(prompt, cluster):
    prompt(f"from mpidirect import Client; rc = Client({str(cluster.connection_file)!r})")
    prompt("%px a = rank")
    assert prompt.shown == RUNNING
    prompt(f"other = Client({str(cluster.connection_file)!r}); view = other[1]")
    prompt("%px print(a)")
    assert prompt.shown == RUNNING + "".join(f"[stdout:{k}] {k}\n" for k in range(4))
    prompt("view.activate(); rc2 = other")
    prompt("%pxconfig --block")
    prompt("%px print(a)")
    assert prompt.shown == "Parallel execution on engines: [1]\n[stdout:1] 1\n"
    prompt("other.close()")
    prompt(f"third = Client({str(cluster.connection_file)!r})")
    prompt("%px pass")
    assert prompt.shown == RUNNING
    prompt("rc.close(); third.close()")


def test_load_ext_without_a_client(prompt, cluster):
    prompt("%load_ext mpidirect")
    prompt("%px print(rank)")
    assert prompt.shown.startswith(RUNNING)
    assert "[stdout:3] 3" in prompt.shown
    prompt("get_ipython()._mpidirect_magics[''].view.client.close()")


def test_load_ext_and_no_cluster(prompt, tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path))
    prompt("%load_ext mpidirect")
    prompt.fails("%px 1")
    assert prompt.shown.startswith("UsageError: No cluster runs under profile 'default'.")
    assert "mpidirect start" in prompt.shown


def test_a_semicolon_keeps_values_from_being_shown(In):
    In("%px rank;")
    assert In.shown == RUNNING
    In("%%px\nrank;\n")
    assert In.shown == RUNNING
    In("%px rank")
    assert 3 in results(In)


def test_outside_of_ipython(dview):
    with pytest.warns(RuntimeWarning, match="only in IPython"):
        dview.activate()


def test_without_ipython(dview, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "IPython"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "IPython", None)
    with pytest.warns(RuntimeWarning, match="not installed"):
        dview.activate()


def test_the_client_never_imports_ipython_by_itself(cluster):
    code = (
        "import sys, mpidirect\n"
        f"rc = mpidirect.Client({str(cluster.connection_file)!r})\n"
        "rc[:].execute('1', silent=False, block=True).display_outputs()\n"
        "print('IPython' in sys.modules, 'mpi4py' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "False False"


def test_engines_write_nothing_of_ipython(dview, tmp_path):
    dview.execute("a = 1", block=True)
    dview.push({"place": str(tmp_path)}, block=True)
    assert dview.pull("get_ipython().history_manager.enabled", block=True) == [False] * 4
    assert dview.apply_sync(len, Reference("globals()"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dview.execute("%cd -q {place}", block=True)
        dview.execute("%cd -q -", block=True)


@pytest.fixture
def pressing(cluster):
    """Press Ctrl-C when all engines sleep."""

    def press():
        with Client(str(cluster.connection_file)) as rc:
            until(lambda: all("time.sleep" in stack for stack in rc.stacks().values()))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    yield
    thread.join()


def test_ctrl_c_interrupts_the_engines(In, pressing):
    error = In.fails("%px import time; print('asleep'); time.sleep(60)")
    assert isinstance(error, KeyboardInterrupt)
    assert "KeyboardInterrupt: engines 0-3: interrupted" in lines(In)
    assert "Interrupting engines 0-3" in In.shown and "Traceback" not in In.shown
    assert "asleep" in In.shown.replace("print('asleep')", "")
    error = In.fails("%pxresult")
    assert [failure.ename for failure in error.elist] == ["KeyboardInterrupt"] * 4
    In("%px 1")
    assert lines(In)[0] == RUNNING.strip()


def test_ctrl_c_without_an_interrupt_of_the_engines(In, rc, pressing):
    error = In.fails("%%px --signal-on-interrupt 0\nimport time; time.sleep(60)")
    assert type(error) is KeyboardInterrupt
    assert all(status["tasks"] for engine, status in rc.queue_status().items() if engine != "unassigned")
    rc.interrupt()


def test_ctrl_c_that_sends_another_signal(In, pressing):
    cell = "import signal, time\nsignal.signal(signal.SIGUSR1, lambda *_: 1 / 0)\ntime.sleep(60)"
    error = In.fails(f"%%px --signal-on-interrupt SIGUSR1\n{cell}")
    assert isinstance(error, CompositeError)
    assert {failure.ename for failure in error.elist} == {"ZeroDivisionError"}
    assert "Sending SIGUSR1 to engines 0-3" in In.shown


def test_output_at_the_end(In):
    In("%%px --no-stream\nprint(rank)")
    assert lines(In)[1:] == [f"[stdout:{k}] {k}" for k in range(4)]
    In("%%px --group-outputs order\ndisplay(rank); display(-rank)")
    assert [line.split()[-1] for line in lines(In)[1:]] == ["0", "1", "2", "3", "0", "-1", "-2", "-3"]
    In("%%px --stream -e\nprint(rank)")
    assert sorted(lines(In)[1:]) == [f"[stdout:{k}] {k}" for k in range(4)]


def test_a_cluster_that_the_prompt_starts_has_the_magics(prompt, tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    prompt("import mpidirect as ipp; cluster = ipp.Cluster(n=1); rc = cluster.start_and_connect_sync()")
    prompt("%px print('here', rank)")
    assert "[stdout:0] here 0" in prompt.shown
    prompt("cluster.stop(); rc.close()")
    prompt("%load_ext mpidirect")
    prompt("%ipcluster start -n 1")
    assert "1 engine is ready" in prompt.shown
    prompt("%px print('there', rank)")
    assert "[stdout:0] there 0" in prompt.shown
    prompt("%ipcluster stop")
    assert "stopped" in prompt.shown
    prompt("%ipcluster status")
    assert "No cluster" in prompt.shown
