"""Functions are pickled once, while nothing has changed that their pickle depends on."""

from __future__ import annotations

import pickle
import sys
import types

import pytest

from mpidirect.errors import SerializationError
from mpidirect.serialize import calls, pickles

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def main(monkeypatch):
    """A prompt's namespace, in which functions can be defined."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module.__dict__


@pytest.fixture
def define(main):
    def define(source, **names):
        main.update(names)
        exec(source, main)
        return main["f"]

    return define


def parts(f):
    """Return what a function consists of."""
    names = ("__code__", "__name__", "__doc__", "__dict__", "__annotations__", "__kwdefaults__")
    sent = f.__builtins__.get("helper")
    return [
        repr(f.__defaults__),
        type(sent),
        getattr(sent, "__name__", None),
        *(getattr(f, n) for n in names),
    ]


def same(f, *args, **kwargs):
    """Whether the result equals the usual pickle's, also the second time."""
    for _ in range(2):
        made = pickles.loads(calls.dumps(f, args, kwargs))
        plain = pickles.loads(pickles.dumps((f, args, kwargs)))
        assert made[1:] == plain[1:]
        assert parts(made[0]) == parts(plain[0])
    return True


def counted(monkeypatch):
    """Return how many functions are pickled."""
    count = []
    whole = calls._dump
    monkeypatch.setattr(calls, "_dump", lambda obj: count.append(obj) or whole(obj))
    return count


def test_a_function_is_pickled_once(define, monkeypatch):
    f = define("def f(x=1):\n    return len([x])")
    count = counted(monkeypatch)
    for k in range(5):
        frames = calls.dumps(f, (k,), {"x": "y"} if k else {})
        assert pickles.loads(frames)[0](3) == 1
        assert pickles.loads(calls.dumps(f, (), {}))[0]() == 1
    assert len(count) == 2


def test_each_unpickled_function_is_a_new_object(define):
    f = define("def f():\n    f.count = 1")
    one, other = (pickles.loads(calls.dumps(f, (), {}))[0] for _ in range(2))
    one.mark = 1
    assert not hasattr(other, "mark")


@pytest.mark.parametrize(
    "change",
    [
        lambda f: setattr(f, "__code__", (lambda: 2).__code__),
        lambda f: setattr(f, "__defaults__", (True,)),
        lambda f: setattr(f, "__name__", "g"),
        lambda f: setattr(f, "__doc__", "changed"),
        lambda f: setattr(f, "attribute", 3),
        lambda f: setattr(f, "__annotations__", {"x": int}),
        lambda f: setattr(f, "__kwdefaults__", {"x": 5}),
        lambda f: f.__globals__.update(helper=lambda: 7),
        lambda f: f.__globals__.update(helper=sys),
        lambda f: f.__globals__.update(helper=len),
        lambda f: f.__globals__.update(helper=5),
    ],
)
def test_every_change_is_noticed(define, change):
    f = define("def f(x=1):\n    'as it was'\n    return helper")
    assert same(f)
    change(f)
    assert same(f)


def test_methods_are_sent_with_the_present_state_of_their_object(define):
    items = []
    f = define("def f():\n    return append", append=items.append)
    for k in range(3):
        assert pickles.loads(calls.dumps(f, (), {}))[0]()(0) is None
        items.append(k)
        assert pickles.loads(calls.dumps(f, (), {}))[0]().__self__ == items


def test_modules_by_value_are_sent_in_their_present_state(define):
    module = types.ModuleType("nowhere")
    f = define("def f():\n    return module.number", module=module)
    for module.number in (1, 2):
        assert pickles.loads(calls.dumps(f, (), {}))[0]() == module.number


def test_referenced_functions_are_sent_along(define):
    f = define("def helper():\n    return 1\ndef f():\n    return helper()")
    assert same(f)
    assert pickles.loads(calls.dumps(f, (), {}))[0]() == 1
    define("def helper():\n    return 2")
    assert pickles.loads(calls.dumps(f, (), {}))[0]() == 2


def test_closures_are_sent_in_their_present_state():
    count = 0

    def f():
        return count

    assert pickles.loads(calls.dumps(f, (), {}))[0]() == 0
    count = 1
    assert pickles.loads(calls.dumps(f, (), {}))[0]() == 1


def test_functions_of_modules_are_sent_by_reference():
    frames = calls.dumps(pickle.dumps, (1,), {})
    assert pickles.loads(frames) == (pickle.dumps, (1,), {})
    assert pickles.loads(calls.dumps(same, (), {}))[0] is same


def test_arguments_of_every_kind(define):
    f = define("def f(*a, **k):\n    return a, k")
    for args, kwargs in [
        ((1, "a", None, b"x", 2.5), {}),
        (([1, 2],), {"x": {"y": (3,)}}),
        ((f, f), {}),
        ((range(3),), {"k": 1j}),
    ]:
        made = pickles.loads(calls.dumps(f, args, kwargs))
        assert type(made[1]) is tuple
        if f not in args:
            assert made[1:] == (args, kwargs)
            assert made[0](*args, **kwargs) == (args, kwargs)


def test_unpicklable_objects_are_named(define):
    f = define("def f(*a):\n    return a")
    with pytest.raises(SerializationError, match="argument 1 of 'f': a frame"):
        calls.dumps(f, (sys._getframe(),), {})
