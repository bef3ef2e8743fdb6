"""The operations of an engine, without a cluster and without IPython."""

from __future__ import annotations

import sys

import pytest

from mpidirect.engine import tasks

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def namespace(main, monkeypatch):
    """An engine's namespace; the engine has no IPython."""
    monkeypatch.setattr(tasks, "_shell", None)
    names = {"comm": "comm", "rank": 0, "size": 1, "MPI": "MPI"}
    monkeypatch.setattr(tasks, "_initial_names", names)
    main.__dict__.update(names)
    return main.__dict__


def do(namespace, op, shared, own=None):
    return tasks.OPERATIONS[op](namespace, shared, own)


def test_apply(namespace):
    assert do(namespace, "apply", (max, (1, 2), {})) == 2
    assert do(namespace, "apply", (pow, (3,), {}), own=(2,)) == 8  # the engine's own part comes first
    assert do(namespace, "apply", (dict, (), {"a": 1})) == {"a": 1}


def test_map(namespace):
    assert do(namespace, "map", (abs, (), {}), own=([-1, 2],)) == [1, 2]
    assert do(namespace, "map", (pow, (), {}), own=([2, 3], [3, 2])) == [8, 9]


def test_push_and_pull(namespace):
    do(namespace, "push", {"a": 1, "b": [2]})
    do(namespace, "push", "c", own=3)
    assert do(namespace, "pull", "b") == [2]
    assert do(namespace, "pull", ["a", "c", "b[0]"]) == [1, 3, 2]
    with pytest.raises(NameError):
        do(namespace, "pull", "nothing")


def test_names(namespace):
    do(namespace, "push", {"a": 1, "_b": 2, "size": 3})
    do(namespace, "push", "c", own=sys.implementation)
    assert do(namespace, "names", None) == ["size", "a", "c"]
    assert [do(namespace, "has", name) for name in ("a", "_b", "c.name", "c.no", "d.e")] == [1, 1, 1, 0, 0]
    with pytest.raises(NameError, match="'d'"):
        do(namespace, "delete", ["a", "d"])
    do(namespace, "delete", ["a"])
    assert do(namespace, "names", None) == ["size", "c"]


def test_execute_as_plain_python(namespace, capsys):
    assert do(namespace, "execute", ("x = rank + 1\nprint(x)", True)) is None
    assert capsys.readouterr().out == "1\n"
    assert namespace["x"] == 1
    with pytest.raises(SyntaxError):
        do(namespace, "execute", ("%whos", True))
    with pytest.raises(ZeroDivisionError):
        do(namespace, "execute", ("1/0", True))


def test_run_restores_the_interpreter(namespace):
    argv = sys.argv
    do(namespace, "run", ("import sys; seen = sys.argv, __file__, __name__", "p.py", ["-x"]))
    assert namespace["seen"] == (["p.py", "-x"], "p.py", "__main__")
    with pytest.raises(SystemExit):
        do(namespace, "run", ("import sys; sys.exit(1)", "p.py", []))
    assert sys.argv is argv
    assert "__file__" not in namespace


def test_clear(namespace):
    namespace["a"] = 1
    do(namespace, "clear", ["comm", "rank", "size", "MPI"])
    assert {name for name in namespace if not name.startswith("__")} == {"comm", "rank", "size", "MPI"}
