"""The traceback that a user sees: only code of the user, of the prompt and of the engines."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from conftest import N
from waiting import until

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def In(prompt, dview):
    prompt.names["dv"], prompt.names["rc"] = dview, dview.client
    prompt("def f(x):\n    y = 1\n    return y / x")
    return prompt


def test_tracebacks_show_the_source_of_cells(In):
    In.fails("dv.apply_sync(f, 0)")
    shown = In.shown
    assert "----> 1 dv.apply_sync(f, 0)" in shown
    assert "Cell In[1], line 3, in f\n    return y / x\n" in shown
    assert "mpidirect/" not in shown
    assert shown.count("Traceback (most recent call last):\n") == 1  # the tracebacks of all engines
    assert f"[0-{N - 1}:apply]: \nTraceback" in shown
    assert shown.rstrip().endswith("[3:apply]: ZeroDivisionError: division by zero")


def test_different_tracebacks_are_all_shown(In):
    In("def g():\n    return f(0) if rank else {}['k']")
    In.fails("dv.apply_sync(g)")
    assert "[0:apply]: \nTraceback" in In.shown and "[1-3:apply]: \nTraceback" in In.shown
    assert "KeyError: 'k'" in In.shown and "return y / x" in In.shown


def test_an_error_of_one_engine(In):
    In.fails("rc[1].apply_sync(f, 0)")
    assert "----> 1 rc[1].apply_sync(f, 0)" in In.shown
    assert "RemoteError: ZeroDivisionError(division by zero)\nTraceback" in In.shown
    assert "    return y / x\n" in In.shown
    assert "mpidirect/" not in In.shown


def test_an_error_of_a_result_that_is_read_later(In):
    In("ar = dv.apply_async(f, 0)")
    In.fails("ar.get()")
    assert "----> 1 ar.get()" in In.shown and "    return y / x\n" in In.shown
    assert "mpidirect/" not in In.shown


def test_an_error_of_a_magic(In):
    In("dv.block = True; dv.activate(); dv['f'] = f")
    In.fails("%px f(0)")
    assert "Executed code, line 1, in <module>\n    f(0)\n" in In.shown
    assert "Cell In[1], line 3, in f\n    return y / x\n" in In.shown
    assert "mpidirect/" not in In.shown and "run_line_magic" not in In.shown
    assert In.shown.count("return y / x") == 1


@pytest.fixture
def apart(In):
    """The same prompt, with engines that have run different numbers of cells."""
    In("for _ in range(3): rc[0].execute('1', block=True, silent=False)")
    In("dv.block = True; dv.activate()")
    return In


@pytest.mark.parametrize("cell", ["%px x = = 3", "dv.execute('x = = 3')"])
def test_a_syntax_error_is_shown_once(In, cell):
    In("dv.block = True; dv.activate()")
    In.fails(cell)
    assert In.shown.count("x = = 3\n        ^") == 1 and "SyntaxError: invalid syntax" in In.shown
    assert "Parallel execution" not in In.shown
    assert "Traceback" not in In.shown or "%px" not in cell


@pytest.mark.parametrize("cell", ["%px only_here", "dv.execute('only_here')"])
def test_a_hint_is_shown_once(In, cell):
    In("dv.block = True; dv.activate(); only_here = 1")
    In.fails(cell)
    assert In.shown.count("Hint: ") == 1 and 'dv["only_here"] = only_here sends it' in In.shown


@pytest.mark.parametrize("cell", ["%px 1/0", "dv.execute('1/0')"])
def test_engines_that_have_run_different_numbers_of_cells(apart, cell):
    apart.fails(cell)
    assert apart.shown.count(f"[0-{N - 1}:execute]: \n") == 1
    assert "Executed code, line 1" in apart.shown
    assert "Cell In[" not in apart.shown.partition(f"[0-{N - 1}:execute]: \n")[2]
    assert "ipython-input" not in apart.shown


def test_errors_in_functions_of_engine_cells(apart):
    apart("dv.execute('def g():\\n    return 1 / 0')")
    apart.fails("dv.execute('g()')")
    assert apart.shown.count("Executed code, line 2, in g") == 1


def test_the_place_of_running_code_names_the_cell(apart):
    running = "import time\nwhile True:\n    time.sleep(0.01)"
    apart(f"ar = dv.execute({running!r}, block=False)")
    client = apart.names["rc"]
    until(lambda: all("of <module> (Executed code)" in place for place in client.where().values()))
    client.interrupt()
    apart.fails("ar.get()")


def test_an_error_in_a_callable_of_a_reduction(In):
    In.fails("dv.execute('comm.Bcast(None)', block=True)")
    assert "mpidirect/engine" not in In.shown


def test_errors_of_the_package_are_shown_without_its_frames(In):
    In.fails("dv['g'] = (i for i in range(3))")
    assert "----> 1 dv['g'] = (i for i in range(3))" in In.shown
    assert "mpidirect/" not in In.shown and "cloudpickle" not in In.shown
    assert In.shown.rstrip().endswith("(list(...) first)")


def test_frames_of_user_code_between_frames_of_the_package_stay(In):
    In("def items():\n    yield rc[0].apply_sync(f, 0)")
    In.fails("dv.map_sync(abs, items())")
    assert "yield rc[0].apply_sync(f, 0)" in In.shown
    assert "mpidirect/" not in In.shown


def test_an_error_while_another_is_handled_shows_both(In):
    In.fails("try:\n    {}['first']\nexcept KeyError:\n    rc[0].apply_sync(f, 0)")
    assert "KeyError: 'first'" in In.shown and "    return y / x\n" in In.shown


WRONG = [
    "dv.scatter('x', 5)",
    "dv.map_sync(f, 5)",
    "rc[7]",
    "rc['a']",
    "dv.pull('rank', targets=9)",
    "dv.apply_sync('f')",
    "dv.push({'a b': 1})",
    "dv.run('nofile.py')",
    "del dv['a', 'b']",
    "dv.a = 5",
    "dv.aply",
    "dv.set_flags(nix=3)",
    "dv.parallel(dist='q')(f)",
    "rc.wait_for_engines(nix=3)",
]


def test_arguments_that_are_refused(In):
    for line in WRONG:
        error = In.fails(line)
        assert f"----> 1 {line}\n" in In.shown
        assert "File " not in In.shown and "skipping" not in In.shown, In.shown
        assert In.shown.rstrip().endswith(f"{type(error).__name__}: {error}")


def test_errors_of_objects_of_the_user_show_where_they_are_raised(In):
    In("class G:\n    def __iter__(self):\n        raise ValueError('own')")
    In("class R:\n    def __reduce__(self):\n        raise ValueError('own')")
    for line in ("dv.map_sync(f, G())", "dv.scatter('x', G())", "dv['x'] = R()"):
        In.fails(line)
        assert f"----> 1 {line}\n" in In.shown
        assert "----> 3 " in In.shown and "raise ValueError('own')\n" in In.shown
        assert "mpidirect/" not in In.shown


def test_an_engines_error_during_the_handling_of_another(In):
    In.fails("try:\n    dv.apply_sync(f, 0)\nexcept Exception as e:\n    e.raise_exception()")
    assert "----> 2     dv.apply_sync(f, 0)" in In.shown and "----> 4     e.raise_exception()" in In.shown
    assert "mpidirect/" not in In.shown


SCRIPT = """
from mpidirect import Client
rc = Client({file!r})
dv = rc[:]
def f(x):
    return 1 / x
def main():
    {line}
main()
"""


def script(cluster, tmp_path, line):
    """Return the standard error of a script with this line."""
    file = tmp_path / "script.py"
    file.write_text(SCRIPT.format(file=str(cluster.connection_file), line=line))
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=60)
    return done.stderr


@pytest.mark.parametrize("line", ["dv.apply_sync(f, 0)", "rc[0].apply_sync(f, 0)", "dv.map_sync(f, [0] * 4)"])
def test_in_plain_python(cluster, tmp_path, line):
    shown = script(cluster, tmp_path, line)
    assert f"in main\n    {line}\n" in shown
    assert shown.count("mpidirect/client") == 1  # Python can't hide the last frame
    assert ", in f\n    return 1 / x\n" in shown
    assert shown.count("in f\n") == 1


@pytest.mark.parametrize("line", ["dv.map_sync(f, 5)", "dv.aply"])
def test_arguments_that_are_refused_in_plain_python(cluster, tmp_path, line):
    shown = script(cluster, tmp_path, line)
    assert f"in main\n    {line}\n" in shown
    assert shown.count("File ") == 3  # two frames of the script, and one of the package


def test_in_a_notebook(cluster, tmp_path):
    pytest.importorskip("ipykernel")
    manager = pytest.importorskip("jupyter_client.manager")
    kernel, client = manager.start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    try:

        def run(cell):
            messages = []
            client.execute_interactive(textwrap.dedent(cell), timeout=60, output_hook=messages.append)
            told = [m["content"] for m in messages if m["msg_type"] in ("error", "stream")]
            return "\n".join("\n".join(c["traceback"]) if "traceback" in c else c["text"] for c in told)

        run("%colors NoColor")
        run(f"from mpidirect import Client; rc = Client({str(cluster.connection_file)!r}); dv = rc[:]")
        run("def f(x):\n    return 1 / x")
        shown = run("dv.apply_sync(f, 0)")
        assert "Cell In[3], line 2, in f\n    return 1 / x\n" in shown
        assert "dv.apply_sync(f, 0)" in shown and "mpidirect/" not in shown
        shown = run("ar = dv.apply_async(f, 0); rc.wait()")
        assert "In [5] failed on engines 0-3: ZeroDivisionError: division by zero — ar.get()" in shown
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
