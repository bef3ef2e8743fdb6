"""Every exception of user code arrives as a clear error, and the engine continues."""

from __future__ import annotations

import concurrent.futures
import pickle
import re

import pytest

from mpidirect import CompositeError, MPIDirectError, RemoteError, errors
from mpidirect.errors import format_ids

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture(autouse=True)
def engines_live_on(dview):
    pids = dview.apply_sync(lambda: __import__("os").getpid())
    yield
    assert dview.apply_sync(lambda: __import__("os").getpid()) == pids


def test_an_error_is_caught_by_its_name_in_the_package(rc):
    import mpidirect

    with pytest.raises(mpidirect.NoEnginesRegistered):
        rc[[]].apply_sync(len)
    assert mpidirect.TaskAborted is mpidirect.error.TaskAborted is errors.TaskAborted
    assert mpidirect.EngineError is errors.EngineError


def test_composite_error(dview):
    with pytest.raises(CompositeError) as caught:
        dview.apply_sync(lambda: 1 / 0)
    error = caught.value
    assert str(error).splitlines() == [
        "one or more exceptions from call to method: <lambda>",
        *[f"[{k}:apply]: ZeroDivisionError: division by zero" for k in range(4)],
    ]
    assert isinstance(error, MPIDirectError)
    for k, (ename, evalue, traceback, info) in enumerate(error.elist):
        assert (ename, evalue) == ("ZeroDivisionError", "division by zero")
        assert traceback.startswith("Traceback (most recent call last)")
        assert (info["engine_id"], info["method"]) == (k, "apply")
        assert info["pid"]


def test_composite_errors_are_remote_errors(dview):
    with pytest.raises(RemoteError) as caught:
        dview.apply_sync(lambda: 1 / 0)
    error = caught.value
    assert type(error) is CompositeError
    assert (error.ename, error.traceback, error.engine_info) == ("CompositeError", "", {})
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.elist) == (CompositeError, str(error), error.elist)
    returned = dview.apply_sync(lambda: CompositeError("as a value", []))
    assert [type(value) for value in returned] == [CompositeError] * 4


def test_ipyparallels_name_of_the_module():
    import mpidirect
    from mpidirect import error

    assert CompositeError is mpidirect.error.CompositeError is error.CompositeError
    assert mpidirect.error is error
    assert [name for name in dir(error) if not name.startswith("_")] == sorted(errors.__all__)


def test_errors_name_the_operation(dview):
    for call, label in (
        (lambda: dview.execute("1/0", block=True), "execute"),
        (lambda: dview.apply_sync(lambda: 1 / 0), "apply"),
        (lambda: dview.map_sync(lambda x: 1 / 0, range(4)), "map"),
        (lambda: dview["nothing"], "pull"),
        (lambda: dview.gather("nothing", block=True), "gather"),
        (lambda: dview.allreduce("nothing", block=True), "allreduce"),
    ):
        with pytest.raises(CompositeError) as caught:
            call()
        assert str(caught.value).splitlines()[1].startswith(f"[0:{label}]: ")
        assert caught.value.elist[0].engine_info["method"] == label


def test_only_failed_engines_are_named(dview):
    with pytest.raises(CompositeError) as caught:
        dview.apply_sync(lambda: 1 / (rank - 2))  # noqa: F821
    assert str(caught.value).splitlines()[1:] == ["[2:apply]: ZeroDivisionError: division by zero"]


def test_print_tracebacks(dview, capsys):
    with pytest.raises(CompositeError) as caught:
        dview.execute("def f(): 1/0\nf()", block=True)
    caught.value.print_tracebacks()
    everything = capsys.readouterr().out
    assert [line for line in everything.splitlines() if line.startswith("[")] == [
        f"[{k}:execute]: " for k in range(4)
    ]
    assert everything.count("ZeroDivisionError: division by zero") == 4
    caught.value.print_traceback(2)
    one = capsys.readouterr().out
    assert one.startswith("[2:execute]: \n")
    assert one.count("ZeroDivisionError: division by zero") == 1
    assert caught.value.render_traceback(2) == [*one.rstrip("\n").splitlines(), ""]


def test_raise_exception(dview):
    with pytest.raises(CompositeError) as caught:
        dview.apply_sync(lambda: {}[rank])  # noqa: F821
    with pytest.raises(RemoteError) as one:
        caught.value.raise_exception()
    assert str(one.value).startswith("KeyError(0)\nTraceback (most recent call last)")
    with pytest.raises(RemoteError, match=r"KeyError\(3\)"):
        caught.value.raise_exception(3)
    with pytest.raises(IndexError, match="an exception with index 4 does not exist"):
        caught.value.raise_exception(4)


def test_one_engine_raises_the_error_itself(rc):
    with pytest.raises(RemoteError) as caught:
        rc[1].apply_sync(lambda: 1 / 0)
    error = caught.value
    assert (error.ename, error.evalue) == ("ZeroDivisionError", "division by zero")
    assert error.engine_info["engine_id"] == 1
    assert repr(error) == "<RemoteError:[1:apply]: ZeroDivisionError(division by zero)>"
    assert error.render_traceback()[-1] == "ZeroDivisionError: division by zero"


def test_the_traceback_is_that_of_the_users_code(rc, main):
    source = "def inner():\n    raise ValueError('deep')\ndef outer():\n    inner()\n"
    exec(compile(source, "prompt.py", "exec"), main.__dict__)
    with pytest.raises(RemoteError) as caught:
        rc[0].apply_sync(main.outer)
    places = re.findall(r'File "(.+?)", line (\d+), in (\w+)', caught.value.traceback)
    assert places == [("prompt.py", "4", "outer"), ("prompt.py", "2", "inner")]


def test_causes_are_shown(rc):
    def f():
        try:
            {}["k"]
        except KeyError as e:
            raise ValueError("because") from e

    with pytest.raises(RemoteError) as caught:
        rc[0].apply_sync(f)
    assert "KeyError: 'k'" in caught.value.traceback
    assert "direct cause" in caught.value.traceback


def test_an_exception_can_be_raised_again(dview):
    ar = dview.apply_async(lambda: 1 / 0)
    for _ in range(2):
        with pytest.raises(CompositeError) as caught:
            ar.get()
        assert len(caught.traceback) < 10
    assert isinstance(ar.exception(), CompositeError)
    assert caught.value.elist == ar.exception().elist


def local_class():
    class Local(Exception):
        """A class that exists in this function only."""

    raise Local("here")


def unpicklable():
    import threading

    error = ValueError("has a lock")
    error.lock = threading.Lock()
    raise error


def raising_in_reduce():
    class Bad(Exception):
        def __reduce__(self):
            raise RuntimeError("not even this")

    raise Bad("bad")


def broken_str():
    class Bad(Exception):
        def __str__(self):
            raise RuntimeError("no text")

        __repr__ = __str__

    raise Bad


def exits():
    import sys

    sys.exit(3)


def interrupts():
    raise KeyboardInterrupt


def recurses():
    def f():
        f()

    f()


def base_exception():
    raise BaseException("base")


def generator_exit():
    raise GeneratorExit


def no_attributes():
    class Slotted(Exception):
        __slots__ = ()

        def __setattr__(self, name, value):
            raise TypeError("no")

    raise Slotted("x")


def surrogates():
    raise ValueError("lone \udc80 surrogate")


def denies_everything():
    class Denies(Exception):
        def __getattribute__(self, name):
            raise SystemExit

    raise Denies


def long_text():
    raise ValueError("x" * 5_000_000)


def group():
    raise ValueError("a", ["list", {"and": "dict"}])


@pytest.mark.parametrize(
    ("f", "ename", "evalue"),
    [
        (local_class, "Local", "here"),
        (unpicklable, "ValueError", "has a lock"),
        (raising_in_reduce, "Bad", "bad"),
        (broken_str, "Bad", "__str__ failed"),
        (exits, "SystemExit", "3"),
        (interrupts, "KeyboardInterrupt", ""),
        (recurses, "RecursionError", "maximum recursion depth"),
        (base_exception, "BaseException", "base"),
        (generator_exit, "GeneratorExit", ""),
        (no_attributes, "Slotted", "x"),
        (surrogates, "ValueError", "lone . surrogate"),
        (group, "ValueError", "a"),
        (denies_everything, "Denies", "nothing of this Denies"),
        (long_text, "ValueError", "x{9999}"),
    ],
)
def test_every_exception_comes_back(dview, main, f, ename, evalue):
    f.__module__ = "__main__"  # as if the user had typed it
    for call in (dview.apply_sync, lambda f: dview.map_sync(lambda _: f(), range(4))):
        with pytest.raises(CompositeError) as caught:
            call(f)
        assert len(caught.value.elist) == 4
        for failure in caught.value.elist:
            assert failure.ename == ename
            assert re.search(evalue, failure.evalue)
        assert str(caught.value)


@pytest.mark.parametrize(
    ("code", "ename"),
    [
        ("import sys; sys.exit(2)", "SystemExit"),
        ("exit()", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("def f(): f()\nf()", "RecursionError"),
        ("class E(BaseException): pass\nraise E", "E"),
        ("class E(Exception):\n    def __str__(self): 1/0\nraise E", "E"),
        ("exec('x = = 1')", "SyntaxError"),
        ("  x = 1\n y = 2", "IndentationError"),
        ("raise ValueError('\\udc80')", "ValueError"),
    ],
)
def test_every_exception_of_code_comes_back(dview, code, ename):
    with pytest.raises(CompositeError) as caught:
        dview.execute(code, block=True)
    assert [failure.ename for failure in caught.value.elist] == [ename] * 4


def test_an_error_whose_text_is_larger_than_a_message(rc):
    call = rc[0].execute("raise ValueError('x' * 150_000_000)", block=False)
    with pytest.raises(RemoteError, match="ValueError") as caught:
        call.get(60)
    assert "characters are left out" in caught.value.traceback
    assert len(caught.value.traceback) < 1_000_000


def test_results_that_cannot_be_pickled(dview):
    with pytest.raises(CompositeError) as caught:
        dview.apply_sync(lambda: __import__("threading").Lock())
    assert [failure.ename for failure in caught.value.elist] == ["SerializationError"] * 4
    assert "lock" in caught.value.elist[0].evalue


def test_results_that_cannot_be_unpickled_here(dview, main):
    exec(
        "def fail(): raise RuntimeError('only there')\n"
        "class Bad:\n"
        "    def __reduce__(self): return fail, ()\n",
        main.__dict__,
    )
    with pytest.raises(CompositeError, match="can't be unpickled here"):
        dview.apply_sync(main.Bad)


def test_arguments_that_cannot_be_unpickled_there(dview, main):
    exec(
        "def fail(): raise RuntimeError('no way in')\n"
        "class Bad:\n"
        "    def __reduce__(self): return fail, ()\n",
        main.__dict__,
    )
    with pytest.raises(CompositeError, match="no way in"):
        dview.apply_sync(len, main.Bad())


def test_output_before_the_error_arrives(dview):
    ar = dview.execute("print('so far')\n1/0")
    with pytest.raises(CompositeError):
        ar.get()
    assert ar.stdout == ["so far\n"] * 4


def test_ipython_shows_the_summary(dview, prompt):
    prompt.names["dview"] = dview
    prompt.fails("dview.execute('1/0', block=True)")
    assert prompt.shown.rstrip().splitlines()[-1] == "[3:execute]: ZeroDivisionError: division by zero"


# -- without a cluster -------------------------------------------------------------------------------


def composite(n, differ=False):
    entries = [
        ("ValueError", f"bad {k}" if differ else "bad", "tb", {"engine_id": k, "method": "apply"})
        for k in range(n)
    ]
    return CompositeError("message", entries)


def test_equal_errors_of_many_engines_are_collapsed():
    assert str(composite(1000)).splitlines()[1:] == ["[0-999:apply]: ValueError: bad (1000 engines)"]
    assert composite(1000).render_traceback() == [*("[0-999:apply]: ", "tb", "", "CompositeError: message")]
    few = [f"[{k}:apply]: ValueError: bad" for k in range(4)]
    assert str(composite(4)).splitlines()[1:] == few  # as on the reference page


def test_different_errors_are_not_collapsed():
    different = [f"[{k}:apply]: ValueError: bad {k}" for k in range(6)]
    assert str(composite(6, differ=True)).splitlines()[1:] == different
    shown = composite(6, differ=True).render_traceback()
    assert [line for line in shown if line.endswith("]: ")] == [f"[{k}:apply]: " for k in range(4)]
    assert shown[-3:] == [*different[4:], "CompositeError: message"]


def test_the_odd_error_of_many_engines_is_shown():
    error = composite(64)
    error.elist[17] = error.elist[17]._replace(ename="KeyError", evalue="'k'")
    assert str(error).splitlines()[1:] == [
        "[0-16,18-63:apply]: ValueError: bad (63 engines)",
        "[17:apply]: KeyError: 'k'",
    ]


def test_the_end_of_the_cluster_is_shown_once():
    told = "its walltime was over.\n\n==> job.log <==\nlast words"
    entries = [("ControllerLost", told, "", {"engine_id": k, "method": "apply"}) for k in range(3)]
    error = CompositeError("message", entries)
    assert str(error) == f"message\n[0-2:apply]: ControllerLost: {told}"
    shown = "\n".join(error.render_traceback())  # as IPython shows it
    assert shown == f"[0-2:apply]: ControllerLost: {told}\n\nCompositeError: message"
    assert error.render_traceback(1)[0] == "[1:apply]: ControllerLost: its walltime was over."


def test_errors_have_their_notes_set_by_libraries():
    error = composite(2)
    notes = list(error.__notes__)
    error.__notes__ = [*notes, "another"]
    assert error.__notes__ == [*notes, "another"]


@pytest.mark.parametrize("error", [composite(3), RemoteError("E", "v", "tb", {"engine_id": 1})])
def test_errors_can_be_pickled(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)


def test_both_timeout_errors_catch_a_timeout():
    assert issubclass(errors.TimeoutError, TimeoutError)
    assert issubclass(errors.TimeoutError, concurrent.futures.TimeoutError)


def test_all_errors_have_one_base():
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), MPIDirectError)


@pytest.mark.parametrize(
    ("ids", "text"), [([], ""), ([3], "3"), ([0, 1, 2, 5], "0-2,5"), ([5, 4], "5,4"), (["?", 1], "?,1")]
)
def test_compact(ids, text):
    assert format_ids(ids) == text


def test_an_engine_that_failed_in_several_tasks_is_named_once():
    error = composite(8)
    error.elist = [error.elist[k] for k in (3, 1, 1, 1, 2, 3)]
    assert str(error).splitlines()[1:] == ["[1-3:apply]: ValueError: bad (6 errors)"]
    assert error.render_traceback()[0] == "[1-3:apply]: "
