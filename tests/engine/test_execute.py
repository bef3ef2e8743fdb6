"""`DirectView.execute` and `run`: code as in IPython."""

from __future__ import annotations

import pytest

from mpidirect import AsyncResult, CompositeError

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


def test_execute(dview):
    ar = dview.execute("a = rank\nprint(a)", block=True)
    assert isinstance(ar, AsyncResult)
    assert ar.stdout == ["0\n", "1\n", "2\n", "3\n"]
    assert ar.execute_input == ["a = rank\nprint(a)"] * 4
    assert dview["a"] == [0, 1, 2, 3]
    with pytest.raises(TypeError):
        dview.execute(1)


@pytest.mark.parametrize("code", ["a = = 1", "def f(:\n    pass", "return 3"])
def test_a_syntax_error_is_raised_before_sending(dview, code):
    calls = len(dview.history)
    with pytest.raises(SyntaxError):
        dview.execute(code)
    assert len(dview.history) == calls


@pytest.mark.parametrize(
    "code", ["%whos", "a = !ls", "len?", "await nothing()", "%%timeit\nx = = 3", "  a = 1\n  b"]
)
def test_ipython_syntax_is_sent_to_the_engines(dview, code):
    dview.execute(code).wait(20)


def test_execute_as_ipython_does(dview):
    pytest.importorskip("IPython")
    dview.execute("spam = 1", block=True)
    assert all("spam" in out for out in dview.execute("%whos", block=True).stdout)
    assert dview.execute("!echo shell", block=True).stdout == ["shell\n"] * 4
    replies = dview.execute("rank", silent=False, block=True).get()
    assert [reply.data["text/plain"] for reply in replies] == ["0", "1", "2", "3"]
    assert repr(replies[1]) == f"<ExecuteReply[{replies[1].execution_count}]: 1>"


def test_rich_results_and_displays(dview):
    pytest.importorskip("IPython")
    ar = dview.execute(
        "class Rich:\n    def _repr_html_(self): return '<b>rich</b>'\ndisplay(Rich())\nRich()",
        silent=False,
        targets=0,
        block=True,
    )
    assert ar.get().data["text/html"] == "<b>rich</b>"
    assert [output["data"]["text/html"] for output in ar.outputs] == ["<b>rich</b>"]
    assert ar.stdout == ""


def test_ipython_is_imported_by_execute_alone(cluster, dview):
    loaded = dview.apply_async(lambda: "IPython" in __import__("sys").modules)
    dview.execute("1", block=True)
    assert loaded.get() in ([False] * 4, [True] * 4)  # an earlier test may have executed code
    assert (
        dview.apply_sync(lambda: "mpidirect.engine.ipython_shell" in __import__("sys").modules).count(True)
        == 4
    )


def test_run(dview, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import sys\nif __name__ == '__main__':\n    found = (rank, sys.argv, __file__)\n")
    dview.run(program, block=True)
    assert dview["found"] == [(k, [str(program)], str(program)) for k in range(4)]
    with pytest.raises(FileNotFoundError):
        dview.run(tmp_path / "missing.py")


def test_run_with_arguments(dview, tmp_path):
    program = tmp_path / "program.py"
    program.write_bytes(
        "# -*- coding: latin-1 -*-\nimport sys\nfound = sys.argv[1:], 'é'\n".encode("latin-1")
    )
    dview.run(program, args=["-n", 5, tmp_path, "a b"], block=True)
    assert dview["found"] == [(["-n", "5", str(tmp_path), "a b"], "é")] * 4
    with pytest.raises(TypeError, match="list of arguments"):
        dview.run(program, args="-n 5")


def test_run_names_the_line_that_fails(dview, tmp_path):
    program = tmp_path / "failing.py"
    program.write_text("x = 1\nx / 0\n")
    with pytest.raises(CompositeError) as caught:
        dview.run(program, block=True)
    assert "failing.py" in caught.value.elist[0].traceback
    assert "line 2" in caught.value.elist[0].traceback


def test_clear_releases_the_results_of_ipython(rc):
    pytest.importorskip("IPython")
    view = rc[0]
    view.execute("class Big: gone = False\ndef mark(_): Big.gone = True", block=True)
    view.execute("Big.__del__ = mark\nBig()", silent=False, block=True)
    view.execute("1", silent=False, block=True)
    kept = view.pull("Out", block=True)
    assert any(type(value).__name__ == "Big" for value in kept.values())
    view.execute("import builtins; builtins.Big = Big", block=True)
    view.clear(block=True)
    assert view.pull("(__import__('gc').collect(), Big.gone)[1]", block=True) is True
    view.execute("import builtins; del builtins.Big", block=True)
    view.execute("41", silent=False, block=True)
    assert view.execute("_ + 1", silent=False, block=True).get().text == "42"
