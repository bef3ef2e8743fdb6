"""Errors of engines name a remedy that the prompt knows."""

from __future__ import annotations

import builtins
import sys
import types

import pytest

from mpidirect import CompositeError, RemoteError
from mpidirect.client.calls.hints import hint_for
from mpidirect.protocol.messages import Failure

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def fails(rc, main):
    """The error of code that fails on an engine."""

    def fail(code):
        with pytest.raises(RemoteError) as caught:
            rc[0].execute(code, block=True)
        return caught.value

    return fail


def test_a_hint_for_data_of_the_prompt(fails, main):
    main.DATA = [1, 2]
    error = fails("len(DATA)")
    assert error.evalue == "name 'DATA' is not defined"  # the text of Python
    assert error.hint.endswith('data is not sent along with functions: dv["DATA"] = DATA sends it.')
    assert str(error).endswith(f"\nHint: {error.hint}")


def test_functions_and_modules_of_the_prompt(fails, main):
    exec("import numpy as np\nimport math\ndef helper(x): return x", main.__dict__)
    assert 'dv["helper"] = helper sends it' in fails("helper(3)").hint
    assert "dv.execute('import math')" in fails("math.pi").hint
    assert "dv.execute('import numpy as np')" in fails("np.pi").hint


def test_unknown_names_get_no_hint(fails):
    error = fails("nobody_knows_it")
    assert error.hint == "" and "Hint" not in str(error)


def test_a_hint_is_shown_once_for_all_engines(dview, main):
    main.DATA = 1
    error = dview.execute("DATA").exception()
    assert str(error).count("Hint: ") == 1


def test_names_of_the_engines_in_functions_of_a_file(rc, tmp_path, monkeypatch):
    (tmp_path / "hinted.py").write_text("def f():\n    return comm.rank")
    monkeypatch.syspath_prepend(tmp_path)
    rc[0].execute(f"import sys; sys.path.insert(0, {str(tmp_path)!r})", block=True)
    import hinted

    with pytest.raises(RemoteError, match=r"comm = MPI.COMM_WORLD.*@mpidirect.interactive"):
        rc[0].apply_sync(hinted.f)
    rc[0].execute(f"sys.path.remove({str(tmp_path)!r})", block=True)


def test_a_module_that_only_the_client_has(tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    hint = hint_for(Failure("ModuleNotFoundError", "No module named 'only_here'", ""))
    assert str(tmp_path) in hint and "sys.path.insert" in hint
    assert "installed here" in hint_for(Failure("ModuleNotFoundError", "No module named 'msgspec.json'", ""))
    assert hint_for(Failure("ModuleNotFoundError", "No module named 'msgspec.x'", "")) == ""  # not here
    assert hint_for(Failure("ModuleNotFoundError", "No module named 'nowhere_at_all.x'", "")) == ""
    assert hint_for(Failure("ModuleNotFoundError", "No module named 'nowhere_at_all'", "")) == ""


def test_the_error_of_numba_for_a_global_gets_a_hint(main):
    main.N = 3
    text = "Failed in nopython mode pipeline\nUntyped global name 'N': Cannot determine Numba type"
    assert 'dv["N"] = N' in hint_for(Failure("TypingError", text, ""))


def test_a_hint_never_fails(main, monkeypatch):
    class Bad:
        def __getattribute__(self, name):
            raise RuntimeError

    main.bad = Bad()
    hint_for(Failure("NameError", "name 'bad' is not defined", ""))
    monkeypatch.setitem(sys.modules, "odd", types.ModuleType("odd"))  # has no __spec__
    assert hint_for(Failure("ModuleNotFoundError", "No module named 'odd'", "")) == ""


@pytest.mark.parametrize("code", ["input('? ')", "breakpoint()", "import pdb; pdb.set_trace(); x = 1"])
def test_engines_have_no_terminal(rc, code):
    with pytest.raises(RemoteError, match=r"NoTerminal.*(at the prompt|terminal)"):
        rc[0].execute(code, block=True)
    assert rc[0].apply_sync(int) == 0


@pytest.mark.parametrize("kind", ["SystemExit(2)", "BaseException(1)", "GeneratorExit()", "ValueError(1)"])
def test_a_result_that_raises_while_it_is_unpickled(dview, main, kind):
    exec(
        "class Odd:\n"
        "    def __reduce__(self): return (Odd, (), {'x': 1})\n"
        f"    def __setstate__(self, state):\n        if not on_engine(): raise {kind}\n"
        "def on_engine(): return 'comm' in globals()",
        main.__dict__,
    )
    error = dview.apply_async(main.Odd).exception()
    assert {failure.ename for failure in error.elist} == {"SerializationError"}
    assert kind.partition("(")[0] in error.elist[0].evalue
    assert hasattr(builtins, kind.partition("(")[0])


def test_a_function_with_the_name_of_an_engines_initial_name(main, dview):
    exec("def rank(x): return x\ncall = lambda: rank(1)", main.__dict__)
    with pytest.raises(CompositeError, match="give the function another name"):
        dview.apply_sync(main.call)
