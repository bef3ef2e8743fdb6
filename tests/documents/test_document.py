"""The examples of IPython's page on the direct interface work at an IPython prompt with four engines.

The tests are the page's sections in order; they check what the page shows, with Python 3's syntax.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys

import numpy as np
import pexpect
import pytest

from mpidirect import Client, Cluster, CompositeError, RemoteError, TimeoutError, UnmetDependency

pytestmark = pytest.mark.openmpi_only  # the same with any MPI

RUNNING = "Parallel execution on engines: [0, 1, 2, 3]\n"
PENDING = re.compile(r"<.*AsyncResult.*>\n")
# On the page, apply calls code that was executed before.
FAILURES = [f"[{engine}:execute]: ZeroDivisionError: division by zero" for engine in range(4)]


@pytest.fixture
def In(prompt, rc):
    """The prompt after the page's first two lines."""
    prompt("from mpidirect import Client")
    prompt("rc = Client()")
    prompt("dview = rc[:]  # use all engines")
    yield prompt
    prompt.names["rc"].close()


def completions(shell, text):
    """Return the completions of a tab after `text`."""
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        return [c.text.rpartition(".")[2] for c in shell.Completer.completions(text, len(text))]


# -- Creating a DirectView instance ------------------------------------------------------------------


def test_client_of_a_copied_connection_file(cluster, tmp_path):
    copy = tmp_path / "ipcontroller-client.json"
    shutil.copy(cluster.connection_file, copy)
    with Client(str(copy)) as rc:
        assert rc.ids == [0, 1, 2, 3]


def test_client_of_the_contents_of_the_file(cluster):
    contents = json.loads(cluster.connection_file.read_text())
    with Client(**contents) as rc:
        assert rc.ids == [0, 1, 2, 3]
    with Client(contents) as rc:
        assert rc.ids == [0, 1, 2, 3]


def test_client_of_a_profile(cluster):
    with Cluster(n=1, profile="mpi"), Client(profile="mpi") as rc:
        assert rc.ids == [0]


def test_ids(In):
    assert In("rc.ids") == [0, 1, 2, 3]
    assert In("dview = rc[:] # use all engines\ndview").targets == [0, 1, 2, 3]


# -- Quick and easy parallelism ----------------------------------------------------------------------


def test_parallel_map(In):
    In("serial_result = map(lambda x:x**10, range(32))")
    In("parallel_result = dview.map_sync(lambda x: x**10, range(32))")
    assert In("list(serial_result)==parallel_result") is True


def test_remote_decorator(In):
    In(
        """
        @dview.remote(block=True)
        def getpid():
            import os
            return os.getpid()
        """
    )
    pids = In("getpid()")
    assert len(set(pids)) == 4
    assert os.getpid() not in pids


def test_parallel_decorator(In):
    In("import numpy as np")
    In("A = np.random.random((64,48))")
    In(
        """
        @dview.parallel(block=True)
        def pmul(A,B):
            return A*B
        """
    )
    In("C_local = A*A")
    In("C_remote = pmul(A,A)")
    assert In("(C_local == C_remote).all()")


def test_parallel_call_and_map(In):
    In(
        """
        @dview.parallel(block=True)
        def echo(x):
            return str(x)
        """
    )
    assert In("echo(range(5))") == ["[0, 1]", "[2]", "[3]", "[4]"]
    assert In("echo.map(range(5))") == ["0", "1", "2", "3", "4"]


# -- Calling Python functions ------------------------------------------------------------------------


def test_a_view_of_some_engines(In):
    In("view = rc[1:3]")
    In("view")
    assert In.shown.endswith("<DirectView [1, 2]>\n")
    offered = set(completions(In.shell, "view.apply"))
    assert offered == {"apply", "apply_async", "apply_sync"}


def test_blocking_execution(In):
    In("dview = rc[:] # A DirectView of all engines")
    In("dview.block=True")
    In("dview['a'] = 5")
    In("dview['b'] = 10")
    assert In("dview.apply(lambda x: a+b+x, 27)") == [42, 42, 42, 42]
    In("dview.block=False")
    assert In("dview.apply_sync(lambda x: a+b+x, 27)") == [42, 42, 42, 42]
    In("rc[::2].execute('c=a+b')")
    In("rc[1::2].execute('c=a-b')")
    assert In("dview['c'] # shorthand for dview.pull('c', block=True)") == [15, -5, 15, -5]


def test_nonblocking_execution(In):
    In(
        """
        def wait(t):
            import time
            tic = time.time()
            time.sleep(t)
            return time.time()-tic
        """
    )
    In("ar = dview.apply_async(wait, .2)")
    assert In("ar.get()") == pytest.approx([0.2] * 4, abs=0.15)
    In("ar = dview.apply_async(wait, 1)")
    assert In("ar.ready()") is False
    error = In.fails("ar.get(.1)")
    assert isinstance(error, TimeoutError)
    assert In.shown.endswith("TimeoutError: Result not ready.\n")
    In("rc.interrupt(); ar.wait()")


def test_waiting_for_many_results(In):
    In(
        """
        def wait(t):
            import time
            time.sleep(t)
            return t
        """
    )
    In("dview.block=False")
    In("pr_list = [dview.apply_async(wait, .02) for i in range(10)]")
    In("dview.wait(pr_list)")
    assert In("all(ar.ready() for ar in pr_list)")
    assert In("pr_list[0].get()") == [0.02] * 4
    assert In("pr_list[0].r") == [0.02] * 4


def test_block_and_targets(In):
    In("dview.targets = [0,2]")
    In("dview.block = False")
    In("ar = dview.apply(lambda : 10)")
    assert In("ar.get()") == [10, 10]
    In("dview.targets = dview.client.ids # all engines (4)")
    In("dview.block = True")
    assert In("dview.apply(lambda : 42)") == [42, 42, 42, 42]


# -- Parallel magic commands -------------------------------------------------------------------------


def test_magics(In):
    In("dv = rc[:]")
    In("dv.activate()")
    In("dv.block=True")
    In("with dv.sync_imports():\n    import numpy")
    assert In.shown == "importing numpy on engine(s)\n"
    assert In.names["numpy"] is np

    In("%px a = numpy.random.rand(2,2)")
    assert In.shown == RUNNING
    In("%px ev = numpy.linalg.eigvals(a)")
    assert In.shown == RUNNING
    eigenvalues = In("dv['ev']")
    assert [ev.shape for ev in eigenvalues] == [(2,)] * 4

    In("dv.apply_async(lambda : ev)")
    again = In("%result")
    assert re.match(r"Out\[\d+\]: \n?\[array\(", In.shown)
    np.testing.assert_array_equal(again, eigenvalues)

    In("dv.block=False")
    In("%autopx")
    assert In.shown == "Auto Parallel Enabled\nType %autopx to disable\n"
    In("max_evals = []")
    assert PENDING.fullmatch(In.shown)
    In(
        "for i in range(100):\n"
        "    a = numpy.random.rand(10,10)\n"
        "    a = a+a.transpose()\n"
        "    evals = numpy.linalg.eigvals(a)\n"
        "    max_evals.append(evals[0].real)\n"
    )
    assert PENDING.fullmatch(In.shown)
    In("%autopx")
    assert In.shown == "Auto Parallel Disabled\n"
    assert "max_evals" not in In.names

    In("dv.block=True")
    In('px ans= "Average max eigenvalue is: %f"%(sum(max_evals)/len(max_evals))')
    assert In.shown == RUNNING
    answers = In("dv['ans']")
    assert len(answers) == 4
    for answer in answers:
        assert re.fullmatch(r"Average max eigenvalue is: (9|10)\.\d+", answer)


# -- Moving Python objects around --------------------------------------------------------------------


def test_push_and_pull(In):
    In("dview.block = True")
    assert In("dview.push(dict(a=1.03234,b=3453))") == [None, None, None, None]
    assert In("dview.pull('a')") == [1.03234, 1.03234, 1.03234, 1.03234]
    assert In("dview.pull('b', targets=0)") == 3453
    assert In("dview.pull(('a','b'))") == [[1.03234, 3453]] * 4
    assert In("dview.push(dict(c='speed'))") == [None, None, None, None]
    In("ar = dview.pull('a', block=False)")
    assert In("ar.get()") == [1.03234, 1.03234, 1.03234, 1.03234]


def test_dictionary_interface(In):
    In("dview['a']=['foo','bar']")
    assert In("dview['a']") == [["foo", "bar"]] * 4
    In("dview.update(dict(a=1))")
    assert In("dview.get('a')") == [1] * 4


def test_scatter_and_gather(In):
    In("dview.block = True")
    assert In("dview.scatter('a',range(16))") == [None, None, None, None]
    assert In("dview['a']") == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    assert In("dview.gather('a')") == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]


# -- Other things to look at -------------------------------------------------------------------------


def test_parallel_list_comprehension(In):
    In("dview.block = True")
    In("dview.activate()")
    In("dview.scatter('x',range(64))")
    In("%px y = [i**10 for i in x]")
    assert In.shown == RUNNING
    In("y = dview.gather('y')")
    In("print(y)")
    assert In.shown.startswith("[0, 1, 1024, 59049, 1048576, 9765625, 60466176, 282475249, 1073741824,")
    assert In.names["y"] == [i**10 for i in range(64)]


def test_remote_imports(In):
    In("with dview.sync_imports():\n    import numpy")
    assert In.shown == "importing numpy on engine(s)\n"
    assert In("dview.apply_sync(lambda: numpy.__name__)") == ["numpy"] * 4


def test_require(In):
    In("from mpidirect import require")
    In(
        """
        @require('re')
        def findall(pat, x):
            # re is guaranteed to be available
            return re.findall(pat, x)
        """
    )
    assert In("dview.apply_sync(findall, '[0-9]', 'a1b22')") == [["1", "2", "2"]] * 4
    In("import time")
    In(
        """
        # you can also pass modules themselves, that you already have locally:
        @require(time)
        def wait(t):
            time.sleep(t)
            return t
        """
    )
    assert In("dview.apply_sync(wait, .01)") == [0.01] * 4


def test_require_a_missing_module(In):
    In("from mpidirect import require")
    In(
        """
        @require('no_such_module')
        def f():
            print('called')
        """
    )
    In("ar = dview.apply_async(f)")
    error = In.fails("ar.get()")
    assert [failure.ename for failure in error.elist] == [UnmetDependency.__name__] * 4
    assert In("ar.stdout") == [""] * 4


# -- Parallel exceptions -----------------------------------------------------------------------------


def test_composite_error(In):
    In("dview.block=True")
    error = In.fails("dview.execute('1/0')")
    assert isinstance(error, CompositeError)
    lines = In.printed.rstrip().splitlines()
    assert lines[-5:] == [
        "CompositeError: one or more exceptions from call to method: _execute",
        *FAILURES,
    ]


def test_raise_one_of_the_exceptions(In):
    In("dview.block=True")
    error = In.fails(
        "import mpidirect as parallel\n"
        "try:\n"
        "    dview.execute('1/0')\n"
        "except parallel.error.CompositeError as e:\n"
        "    e.raise_exception()\n"
    )
    assert isinstance(error, RemoteError)
    shown = In.shown[In.shown.rindex("RemoteError: ") :]
    assert shown.startswith("RemoteError: ZeroDivisionError(division by zero)\n")
    assert "Traceback (most recent call last)" in shown
    assert shown.rstrip().endswith("ZeroDivisionError: division by zero")


def test_exceptions_without_blocking(In):
    In("dview.block=False")
    In("ar = dview.execute('1/0')")
    error = In.fails("ar.get()")
    assert isinstance(error, CompositeError)
    assert In.shown.rstrip().splitlines()[-4:] == FAILURES


def test_debug(cluster, tmp_path):
    """At a terminal, ``%debug`` stops where the error is raised, and the error is available."""
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "TERM": "dumb", "NO_COLOR": "1"}
    colors = "nocolor" if _ipython() >= 9 else "NoColor"
    ipython = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit", f"--colors={colors}"],
        env=environment,
        encoding="utf-8",
        timeout=30,
        echo=False,
    )

    def type_in(line, prompt):
        ipython.sendline(line)
        ipython.expect(prompt)
        return ipython.before.replace("\r\n", "\n")

    ipython.expect(r"In \[1\]:")
    type_in("from mpidirect import Client; dview = Client()[:]; dview.block=True", r"In \[2\]:")
    shown = type_in("dview.execute('1/0')", r"In \[3\]:")
    assert "CompositeError: one or more exceptions from call to method: _execute" in shown
    landed = type_in("%debug", "ipdb> ")
    assert re.search(r"asyncresult\.py\(\d+\)get\(\)", landed)
    assert re.search(r"--> \d+ +raise self\._exception\n", landed)
    names = type_in("p dir(self._exception)", "ipdb> ")
    for name in ("args", "elist", "print_tracebacks", "raise_exception"):
        assert repr(name) in names
    printed = type_in("self._exception.print_tracebacks()", "ipdb> ")
    for engine in range(4):
        assert re.search(rf"\[{engine}:execute\]: *\n", printed)
    assert printed.count("\nZeroDivisionError: division by zero\n") == 4
    type_in("q", r"In \[\d\]:")
    ipython.sendline("exit")
    ipython.expect(pexpect.EOF)
    ipython.close()


def _ipython() -> int:
    return pytest.importorskip("IPython").version_info[0]
